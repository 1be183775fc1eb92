"""The pool to play with: the button, the sliders, and that nothing is left when it is over."""

from conftest import wait_until

from helpers.live import LiveCrew


def test_a_run_draws_and_ends_by_itself():
    live = LiveCrew(seconds=0.8)
    live.button.click()
    assert live.running()
    live.wait()
    assert bytes(live.picture.value).startswith(b"\x89PNG")
    stats = live.pool.stats()
    assert stats.submitted == stats.finished > 0 and live.pool.worker_count == 0
    assert live.button.description == "Start"


def test_the_button_stops_a_run_and_starts_the_next():
    live = LiveCrew(seconds=60)
    live.button.click()
    wait_until(lambda: live.button.description == "Stop")
    live.button.click()
    live.wait()
    first = live.pool
    live.seconds = 0.3
    live.button.click()
    live.wait()
    assert live.pool is not first and first.worker_count == live.pool.worker_count == 0


def test_the_sliders_resize_the_pool_and_never_cross():
    live = LiveCrew(seconds=60)
    live.low.value = 12
    live.low.value = 10
    live.high.value = 4  # below the minimum: goes back up to it
    assert live.low.value <= live.high.value
    live.button.click()
    assert live.resized is None
    live.high.value = 20
    assert live.resized[1] == "maximum 20"
    live.low.value = 7
    assert live.pool.worker_count >= 7
    live.button.click()
    live.wait()
    live.low.value = 3  # after the run: nothing happens


def test_start_does_nothing_while_a_run_goes_on():
    live = LiveCrew(seconds=60)
    live.start()
    pool = live.pool
    live.start()
    assert live.pool is pool
    live.stop()
    live.wait()
