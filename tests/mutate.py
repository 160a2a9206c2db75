"""Mutants of a module, by cosmic-ray: run by the Python of its own environment, for `tests.mutants`.

    build/cosmic-ray/bin/python tests/mutate.py FILE COUNT SEED

Prints a JSON list of [line, the whole text of the mutant]. COUNT places are drawn by lot, and of each one of its mutants:
a plus can become eleven other things, and would else be drawn eleven times as often as a comparison.
"""

import json
import random
import re
import sys
from collections import defaultdict
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# A note of a type says nothing to a program that runs; of what there is only once, "is" and "==" say the same.
SAY_NOTHING = re.compile(r"BinaryOperator_BitOr_|Operator_(Is_Eq|Eq_Is|IsNot_NotEq|NotEq_IsNot)$|NoOp")


def mutants(code: str, count: int, seed: int) -> list[tuple[int, str]]:
    nodes = list(ast_nodes(get_ast(code)))
    places = defaultdict(list)
    for name in operator_names():
        operator = get_operator(name)
        if SAY_NOTHING.search(name) or operator.arguments():
            continue
        starts = (start for node in nodes for start, _ in operator().mutation_positions(node))
        for occurrence, start in enumerate(starts):
            places[start].append((operator, occurrence))
    lot = random.Random(seed)
    drawn = sorted(lot.sample(sorted(places), min(count, len(places))))
    of_each = [(line, *lot.choice(places[line, column])) for line, column in drawn]
    return [(line, mutate_code(code, operator(), occurrence)) for line, operator, occurrence in of_each]


if __name__ == "__main__":
    json.dump(mutants(Path(sys.argv[1]).read_text(), int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
