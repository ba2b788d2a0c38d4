"""The report: numbers and arrays in, one self-contained HTML page out."""
