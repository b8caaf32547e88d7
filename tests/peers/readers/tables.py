"""A table of answers as pyarrow and the csv module read it: types, then the rows of both."""

import csv
import json
import sys

import pyarrow.csv
import pyarrow.parquet

table = pyarrow.parquet.read_table(sys.argv[1] + ".parquet")
with open(sys.argv[1] + ".csv", newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file, strict=True))
assert pyarrow.csv.read_csv(
    sys.argv[1] + ".csv",
    parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
).num_rows == len(rows)
types = {field.name: str(field.type) for field in table.schema}
print(json.dumps({"types": types, "parquet": table.to_pylist(), "csv": rows}))
