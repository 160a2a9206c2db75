"""`python -m course.grading`: the exercises as an nbgrader assignment, course/source/exercises/exercises.ipynb.

    cd course && nbgrader generate_assignment exercises && nbgrader autograde exercises

A student hands in the notebook and, in the folder results/ beside it, the runs that it speaks of. Grading runs no lab.
"""

from __future__ import annotations

from pathlib import Path

import nbformat

from stacklab.exercises import EXERCISES, Exercise

COURSE = Path(__file__).parent
ASSIGNMENT = COURSE / "source" / "exercises" / "exercises.ipynb"
ASKS = """# Exercises

Each is measured on your own lab, with `lab.set(…)` and `lab.http(…)` of a lesson, or with `fab`. Hand in this notebook and, in a
folder `results` beside it, the runs that it speaks of."""
BEGINS = """from pathlib import Path

from stacklab.exercises import grade

results = Path("results")  # beside this notebook: the runs that it speaks of"""
SOLUTION = """### BEGIN SOLUTION
from stacklab.exercises import shown

{answer} = shown("{name}", results)
### END SOLUTION"""


def in_words(name: str, exercise: Exercise) -> str:
    """What an exercise asks, to be read."""
    load = ", ".join(f"`{key}={value!r}`" for key, value in exercise.load.items())
    cases = "\n".join(
        f"- `{label}`: {', '.join(f'`{key}={value!r}`' for key, value in settings.items())}"
        for label, settings in exercise.cases.items()
    )
    return (
        f"## {name}\n\nMeasure, under a load of {load}, with these settings:\n\n{cases}\n\n"
        f"What did you find: **{exercise.asks}**? A number for each."
    )


def cell(kind: str, text: str, grade_id: str, **grading: object) -> nbformat.NotebookNode:
    """A cell, with what nbgrader has to know of it."""
    made = getattr(nbformat.v4, f"new_{kind}_cell")(text, id=grade_id)
    common = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3}
    made.metadata["nbgrader"] = common | {"grade_id": grade_id} | grading
    return made


def assignment() -> nbformat.NotebookNode:
    """The teacher's notebook: with solutions, which nbgrader leaves out of the students'."""
    cells = [
        cell("markdown", ASKS, "begins", locked=True),
        cell("code", BEGINS, "tools", locked=True),
    ]  # fmt: skip
    for name, exercise in EXERCISES.items():
        number = name.replace(".", "_")
        asked = f"answer_{number} = {dict.fromkeys(exercise.cases)}\n"
        solved = SOLUTION.format(answer=f"answer_{number}", name=name)
        marks = f'graded = grade("{name}", answer_{number}, results)\nprint(graded)\nfloat(graded)'
        cells += [
            cell("markdown", in_words(name, exercise), f"asks-{number}", locked=True),
            cell("code", asked + solved, f"answer-{number}", solution=True),
            cell("code", marks, f"grade-{number}", grade=True, locked=True, points=len(exercise.cases)),
        ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def main() -> None:
    """Write the assignment."""
    ASSIGNMENT.parent.mkdir(parents=True, exist_ok=True)
    ASSIGNMENT.write_text(nbformat.writes(assignment()) + "\n")
    print(f"{ASSIGNMENT.relative_to(COURSE.parent)}: {len(EXERCISES)} exercises")


if __name__ == "__main__":
    main()
