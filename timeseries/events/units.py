"""Units and plausible ranges: values are converted where a map says so; everything else is reported and left alone.

A map says for a code into which unit its values go, and what to do with each other unit: a factor, or a factor and an
addend, value -> factor * value + addend.

    glucose: {to: mg/dL, mmol/L: 18.016}
    temperature: {to: C, F: [0.55556, -17.77778]}
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_suite import nearest

from .read_report import ReadReport
from .records import NONE, EventRecords

Ranges = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class UnitRule:
    """Values of `code` in `unit` become factor * value + addend in `to`."""

    code: str
    unit: str
    to: str
    factor: float
    addend: float


def unit_rules(spec: Mapping[str, Mapping[str, Any]]) -> list[UnitRule]:
    """The rules of a map as YAML holds it.

    Raises:
        ValueError: An entry has no "to", or a factor is no finite number other than 0.
    """
    rules = []
    for code, entry in spec.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("to"), str):
            raise ValueError(
                f"units: {code}: expected a map with 'to', such as {{to: mg/dL, mmol/L: 18.016}}, got {entry!r}"
            )
        for unit, how in entry.items():
            if unit == "to":
                continue
            pair = [how, 0.0] if isinstance(how, (int, float)) else how
            numbers = isinstance(pair, Sequence) and all(isinstance(x, (int, float)) and math.isfinite(x) for x in pair)
            if not numbers or len(pair) != 2 or pair[0] == 0:
                raise ValueError(f"units: {code}: {unit}: expected a factor or [factor, addend], got {how!r}")
            rules.append(UnitRule(code, unit, entry["to"], float(pair[0]), float(pair[1])))
    return rules


def convert_units(
    table: EventRecords, rules: Sequence[UnitRule], report: ReadReport
) -> tuple[EventRecords, ReadReport]:
    """Apply the rules; the report says how many values of each code were converted.

    Raises:
        ValueError: A converted value is too large for float32.
    """
    if not rules:
        return table, report
    units = list(table.units)
    value, unit = table.value.copy(), table.unit.copy()
    converted = dict(report.converted)
    for rule in rules:
        if rule.code not in table.codes or rule.unit not in table.units:
            continue
        if rule.to not in units:
            units.append(rule.to)
        chosen = (table.code == table.codes.index(rule.code)) & (table.unit == table.units.index(rule.unit))
        if chosen.any():
            found = table.value[chosen].astype(np.float64) * rule.factor + rule.addend
            large = np.abs(found) > np.finfo(np.float32).max
            if large.any():
                row = int(large.argmax())
                raise ValueError(
                    f"{report.source}: units: {rule.code}: expected a finite number (float32) in {rule.to}, got "
                    f"{found[row]:g} from {table.value[chosen][row]:g} {rule.unit} of subject "
                    f"{table.subjects[table.owners()[chosen][row]]}"
                )
            value[chosen] = found.astype(np.float32)
            unit[chosen] = units.index(rule.to)
            converted[rule.code] = converted.get(rule.code, 0) + int(chosen.sum())
    return replace(table, value=value, unit=unit, units=tuple(units)), replace(report, converted=converted)


def unmatched_rules(tables: Sequence[EventRecords], rules: Sequence[UnitRule], ranges: Ranges) -> tuple[str, ...]:
    """Rules that no event fits, in words; such a rule may be right, or have a name misspelt.

    Args:
        tables: As read, before anything is converted.
        rules: For units.
        ranges: Plausible values.
    """
    units_of: dict[str, set[str]] = {}
    for table in tables:
        for k in np.flatnonzero(np.bincount(table.code, minlength=len(table.codes))).tolist():
            units_of.setdefault(table.codes[k], set())
        for code in {rule.code for rule in rules} & units_of.keys() & set(table.codes):
            found = np.unique(table.unit[table.code == table.codes.index(code)])
            units_of[code] |= {table.units[k] for k in found.tolist() if k != NONE}
    strange = [
        f"units: {rule.code}: no such code{nearest(rule.code, list(units_of))}"
        for rule in rules
        if rule.code not in units_of
    ]
    strange += [
        f"ranges: {code}: no such code{nearest(code, list(units_of))}" for code in ranges if code not in units_of
    ]
    strange += [
        f"units: {rule.code}: nothing in {rule.unit!r}{nearest(rule.unit, list(units_of[rule.code]))}"
        for rule in rules
        if rule.code in units_of and rule.unit not in units_of[rule.code]
    ]
    return tuple(dict.fromkeys(strange))


def conflicting_units(table: EventRecords) -> dict[str, dict[str, int]]:
    """Codes whose numbers come in several units, with the number of values in each; "" stands for none."""
    has = ~np.isnan(table.value)
    width = len(table.units) + 1
    pairs, counts = np.unique(table.code[has].astype(np.int64) * width + table.unit[has] + 1, return_counts=True)
    found: dict[str, dict[str, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        unit = pair % width - 1
        found.setdefault(table.codes[pair // width], {})["" if unit == NONE else table.units[unit]] = count
    return {code: units for code, units in found.items() if len(units) > 1}


def out_of_range(table: EventRecords, ranges: Ranges) -> dict[str, tuple[int, float, float]]:
    """Values outside their range: code -> (count, smallest, largest of them).

    Raises:
        ValueError: A range is not two numbers in ascending order.
    """
    found = {}
    for code, limits in ranges.items():
        if len(limits) != 2 or not limits[0] < limits[1]:
            raise ValueError(f"ranges: {code}: expected [lowest, highest], got {list(limits)}")
        if code in table.codes:
            values = table.value[table.code == table.codes.index(code)]
            outside = values[(values < np.float32(limits[0])) | (values > np.float32(limits[1]))]
            if len(outside):
                found[code] = (len(outside), float(outside.min()), float(outside.max()))
    return found


def check(table: EventRecords, report: ReadReport, ranges: Ranges) -> ReadReport:
    """The report with what the table's units and ranges give rise to."""
    return replace(report, conflicting_units=conflicting_units(table), out_of_range=out_of_range(table, ranges))
