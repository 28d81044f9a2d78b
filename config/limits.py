"""How much is taken at most. Each is a variable of its name; what is over one is refused in words that name it."""

LIMITS = {
    "DEFINITION_MOST_CHARACTERS": 200_000,
    "DEFINITION_MOST_VALUES": 20_000,
    "DEFINITION_DEEPEST": 50,
    "DEFINITION_MOST_STEPS": 1_000,
    "MAP_MOST_ITEMS": 10_000,
    "REPEAT_MOST_PASSES": 10_000,
    "EXPRESSION_MOST_WORK": 10_000_000,
    "SCHEDULE_MOST_MISSED": 100,
    "EVENT_LOOK_BACK_HOURS": 24,
    "RUN_DEEPEST": 16,
    "RUN_TREE_MOST": 10_000,
    "BULK_MOST_RUNS": 5_000,
    "OUTPUT_MOST_BYTES": 20_000_000,
}
