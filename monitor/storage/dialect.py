"""Expressions that SQLite and PostgreSQL write differently, for the SELECT statements of public views."""

from dataclasses import dataclass
from typing import Final

# Columns that identify a series, from the table `series` under the alias `s`.
SERIES_COLUMNS: Final = "s.site AS site, s.station AS station, s.quantity AS quantity"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Expressions that SQLite and PostgreSQL write differently."""

    sqlite: bool

    def rounded(self, number: str, places: int) -> str:
        """Return SQL that rounds a double to decimal places. The result is never negative zero."""
        if self.sqlite:
            return f"(round({number}, {places}) + 0.0)"
        return f"(CAST(round(CAST({number} AS numeric), {places}) AS double precision) + 0.0)"

    def level_name(self, levels: str, level: str) -> str:
        """Return SQL that looks up the name of a level in the JSON list of a site's levels."""
        if self.sqlite:
            return f"json_extract({levels}, '$[' || {level} || '].name')"
        return f"(CAST({levels} AS jsonb) -> {level} ->> 'name')"

    def days_between(self, day: str, instant: str) -> str:
        """Return SQL that counts the days from a day to the day of an instant."""
        if self.sqlite:
            return f"CAST(julianday(substr({instant}, 1, 10)) - julianday({day}) AS integer)"
        return f"(CAST(substr({instant}, 1, 10) AS date) - CAST({day} AS date))"

    def seconds_between(self, earlier: str, later: str) -> str:
        """Return SQL that counts the whole seconds from one instant to another."""
        if self.sqlite:
            return f"CAST(round((julianday({later}) - julianday({earlier})) * 86400) AS integer)"
        return (
            f"CAST(round(extract(epoch FROM CAST({later} AS timestamptz) - CAST({earlier} AS timestamptz))) AS bigint)"
        )

    def before(self, text: str, sign: str) -> str:
        """Return SQL for the part of a text before a character, or the whole text if the character does not occur."""
        if self.sqlite:
            return f"substr({text}, 1, instr({text} || '{sign}', '{sign}') - 1)"
        return f"split_part({text}, '{sign}', 1)"

    def hexadecimal(self, octets: str) -> str:
        """Return SQL that formats bytes as lower-case hexadecimal text."""
        return f"lower(hex({octets}))" if self.sqlite else f"encode({octets}, 'hex')"

    def joined(self, column: str) -> str:
        """Return SQL that joins the texts of a column with commas. Order the rows in a subquery."""
        return (
            f"group_concat({column}, ', ')"
            if self.sqlite
            else f"string_agg({column}, ', ' ORDER BY {column} COLLATE \"C\")"
        )

    def rows_of(self, column: str) -> str:
        """Return SQL that joins a JSON list of lists. Each inner list becomes a row `row_of`."""
        if self.sqlite:
            return f"JOIN json_each({column}) row_of"
        return f"CROSS JOIN LATERAL jsonb_array_elements(CAST({column} AS jsonb)) AS row_of(value)"

    def item(self, index: int) -> str:
        """Return SQL for one value of the inner list `row_of`."""
        return f"json_extract(row_of.value, '$[{index}]')" if self.sqlite else f"(row_of.value ->> {index})"

    def entry(self, column: str, key: str) -> str:
        """Return SQL for the value of a key of a JSON object, as an argument for `rows_of`."""
        return f"json_extract({column}, '$.{key}')" if self.sqlite else f"(CAST({column} AS jsonb) -> '{key}')"

    def number(self, index: int) -> str:
        """Return SQL for one value of the inner list `row_of` as a double."""
        return f"CAST({self.item(index)} AS double precision)"
