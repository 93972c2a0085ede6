"""The keys that orders.csv names, but for the rows that `trunkline enqueue --json` refused.

By a CSV reader that is not Trunkline's: what the demo's proof counts does not hang on what it is about.
Usage: keys.py ORDERS.CSV ENQUEUE.JSON
"""

import csv
import json
import sys

with open(sys.argv[2], encoding="utf-8") as file:
    refused = {verdict["row"] for verdict in map(json.loads, file) if verdict.get("verdict") == "refused"}
with open(sys.argv[1], encoding="utf-8-sig", newline="") as file:
    # As in orders.yaml; the header is row 1.
    for number, row in enumerate(csv.DictReader(file), 2):
        if number not in refused and row["Order"]:
            print(f"order:{row['Store']}.{row['Order']}:ready")
