"""One module per subcommand of `multibodies`.

Each has `HELP` (one line), `add_arguments(parser)` and `run(args)`. Nothing heavy is imported at
module level, so that `--help` and usage errors answer at once: Ray and torch only inside `run`.
"""
