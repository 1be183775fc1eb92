"""Two additions to nbval: measure again if a measurement fails, and check that a notebook leaves nothing behind.

**Measured again.** A stall of the machine can spoil a short measurement. If an assert of a measured cell fails, the
cell is run again, after the measured cells directly before it, which often hold the experiment. If that does not help,
the whole notebook up to the cell is run again in a new kernel, because the experiment may be further above. A false
claim fails each time. The summary of the run lists the cells that passed later. A cell whose output is compared is not
run again for its own sake: a difference is an error at once.
"""

from collections import defaultdict

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

FIRST = """
from helpers import leftovers as _house
_known_ports = _house.listening_ports()
"""
LAST = "print(_house.leftovers(_known_ports))"
MEASUREMENTS = 4  # at most, including the first one; the last one is in a new kernel
SECONDS = 600  # for all measurements of a cell

collect_cells = IPyNbFile.collect
run_once = IPyNbCell.runtest


def collect(self):
    cells = [extra(self, "the house is looked at", -1, FIRST, []), *collect_cells(self)]
    measured = []
    for number, cell in enumerate(cells):
        measured = [*measured, cell] if not cell.options["check"] else []
        cell.measured = measured  # the cell itself and the measured cells directly before it, or nothing
        cell.until_here = cells[: number + 1]
        if measured:
            cell.add_marker(pytest.mark.timeout(SECONDS))
    yield from cells
    nothing = nbformat.v4.new_output("stream", name="stdout", text="[]\n")
    yield extra(self, "nothing is left behind", len(cells) - 1, LAST, [nothing])


def extra(notebook, name, number, source, outputs):
    cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=outputs)
    item = IPyNbCell.from_parent(notebook, name=name, cell_num=number, cell=cell, options=defaultdict(bool, check=True))
    item.measured = []
    return item


def runtest(self):
    """Run the cell, and measure again if an assert of a measured cell fails."""
    try:
        return run_once(self)
    except NbCellError as error:
        if not self.measured or not failed_assert(self):
            raise
        first_error = error
    for number in range(2, MEASUREMENTS + 1):
        try:
            for cell in self.measured if number < MEASUREMENTS else in_new_kernel(self):
                run_once(cell)
        except NbCellError:
            continue
        self.warn(pytest.PytestWarning(f"{self.name} passed in measurement number {number}"))
        return None
    raise first_error


def in_new_kernel(cell):
    """Give the notebook a new kernel. Return the cells that must run in it: all of them up to this one."""
    cell.parent.teardown()
    cell.parent.setup()
    return cell.until_here


def failed_assert(cell):
    """Return whether the last run of the cell ended with an AssertionError."""
    return any(output.get("ename") == "AssertionError" for output in cell.test_outputs)


IPyNbFile.collect = collect
IPyNbCell.runtest = runtest
