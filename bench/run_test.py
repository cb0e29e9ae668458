#!/usr/bin/env python3
"""Tests of bench/run: what it makes of the programs' lines."""
import importlib.machinery
import importlib.util
import pathlib
import unittest

HERE = pathlib.Path(__file__).resolve().parent
loader = importlib.machinery.SourceFileLoader("run", str(HERE / "run"))
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)


class Run(unittest.TestCase):
    def setUp(self):
        self.bars = [run.Bar("start", "ms", goal=40), run.Bar("rate", "builds/s", goal=62, better="more")]

    def measure(self, **line):
        run.put(self.bars, line)

    def test_a_goal_is_a_bound_on_the_side_that_is_better(self):
        self.measure(what="start", value=40, unit="ms")
        self.measure(what="rate", value=61.9, unit="builds/s")
        self.assertEqual([bar.met for bar in self.bars], [True, False])

    def test_what_was_not_measured_is_neither_met_nor_missed(self):
        self.assertIsNone(self.bars[0].met)
        self.assertIn("not measured", run.table(self.bars))

    def test_a_measurement_without_a_bar_is_shown_too(self):
        self.measure(what="bare start", value=9, unit="ms", note="bwrap")
        self.assertIn("bare start", run.table(self.bars))
        self.assertIsNone(self.bars[-1].met)

    def test_another_unit_than_the_bars_is_refused(self):
        with self.assertRaisesRegex(ValueError, "start: measured in s"):
            self.measure(what="start", value=0.04, unit="s")

    def test_what_a_program_says_to_people_is_passed_over(self):
        lines = list(run.measurements('hello\n{"what": "start", "value": 1, "unit": "ms"}\n'))
        self.assertEqual(lines, [{"what": "start", "value": 1, "unit": "ms"}])

    def test_the_bars_of_the_design_can_be_read(self):
        bars = run.load_bars(HERE / "bars.json")
        self.assertEqual(len({bar.what for bar in bars}), len(bars))
        self.assertTrue(all(bar.goal is not None for bar in bars))


if __name__ == "__main__":
    unittest.main()
