"""Write users.csv: 10,000 invented users, with the same bytes on every machine and every Python.

    python data/make_users.py

About 30% of the users are inactive: their last login was more than 180 days before TODAY.
"""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

SEED = 20260101
COUNT = 10_000
TODAY = date(2026, 1, 1)  # the fixed "today" of the notebooks, so that every run finds the same users
INACTIVE_AFTER = 180  # days without a login
INACTIVE_SHARE = 0.3
COLUMNS = ("id", "name", "email", "city", "signed_up", "last_login", "active")


def words(text: str) -> list[str]:
    return text.split()


# Names are made of random syllables, so that they do not belong to real people.
GIVEN = words("Al Ba Be Ca Da El Fa Fi Ga Hel I Jo Ka La Lu Ma Mi Na No O Pa Ra Ri Sa Se Ta Ti U Ve Yo Za")
GIVEN_END = words("bel dan dia dor fina ki lan lia lo mar mina na nek nis ra ren rik sa san ta tho va vin ya zel")
FAMILY = words("Ar Bel Bor Cas Dor El Fen Gar Hal Is Kel Lam Mar Nor Ol Pel Quil Ros Sel Tol Ul Ver Wen Yar Zan")
FAMILY_MIDDLE = words("a an da e en i la le lo ma mi na ne o ra ri ro sa ta ti to u va ve vi")
FAMILY_END = words(
    "bach beck berg by dal dell din ford gren ham ker land lett ley man mond ner ney rick ro son ten ton vane wick"
)
CITIES = words(
    "Accra Ankara Athens Auckland Bergen Bilbao Boston Brno Cairo Calgary Cork Dakar Delhi Dublin Geneva Ghent Hanoi "
    "Helsinki Kigali Kyoto Lagos Leeds Lima Lisbon Lyon Manila Montevideo Nairobi Oslo Perth Porto Prague Quito Riga "
    "Rotterdam Seoul Taipei Tallinn Toronto Turin Utrecht Vilnius"
)
DOMAINS = words("example.com example.org example.net")  # RFC 2606 reserves these domains: mail to them goes nowhere


def make_users() -> list[tuple[int | str, ...]]:
    """Return the rows in the order of their ids, 1 to COUNT."""
    source = random.Random(SEED)

    def below(limit: int) -> int:
        return int(source.random() * limit)  # for a given seed, Python guarantees only random() to stay the same

    def one_of(parts: list[str]) -> str:
        return parts[below(len(parts))]

    rows: list[tuple[int | str, ...]] = []
    for number in range(1, COUNT + 1):
        given = one_of(GIVEN) + one_of(GIVEN_END)
        family = one_of(FAMILY) + one_of(FAMILY_MIDDLE) + one_of(FAMILY_END)
        email = f"{given}.{family}{number}@{one_of(DOMAINS)}".lower()
        active = source.random() >= INACTIVE_SHARE
        days = below(INACTIVE_AFTER + 1) if active else INACTIVE_AFTER + 1 + below(900)
        last_login = TODAY - timedelta(days=days)
        signed_up = last_login - timedelta(days=below(1500))
        rows.append(
            (
                number,
                f"{given} {family}",
                email,
                one_of(CITIES),
                signed_up.isoformat(),
                last_login.isoformat(),
                str(active).lower(),
            )
        )
    return rows


def write_users(path: Path) -> None:
    """Write the users to `path`."""
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(make_users())


if __name__ == "__main__":
    write_users(Path(__file__).with_name("users.csv"))
