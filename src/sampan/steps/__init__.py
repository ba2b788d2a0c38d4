"""One module or package a rule: open stores, call what knows only arrays, write one store."""
