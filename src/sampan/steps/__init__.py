"""One module a rule: open stores, call functions that know only arrays, write one store."""
