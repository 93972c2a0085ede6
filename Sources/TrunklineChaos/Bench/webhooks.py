"""Signed Shopify webhooks for gateway.lua: a line of signature, tab and body for each of N different orders.

Usage: BENCH_SECRET=… webhooks.py N
"""

import base64
import hashlib
import hmac
import json
import os
import sys

SECRET = os.environ["BENCH_SECRET"].encode()

for number in range(int(sys.argv[1])):
    address = {
        "first_name": "Noa", "last_name": "Levi", "address1": f"Herzl {number % 200}", "city": "Haifa", "zip": "3303139",
        "phone": f"054-{1000000 + number % 8000000:07d}", "country": "Israel", "country_code": "IL", "company": None,
    }
    order = {
        "id": 820982911946000000 + number, "admin_graphql_api_id": f"gid://shopify/Order/{820982911946000000 + number}",
        "name": f"#{number}", "order_number": number, "email": "customer@example.com", "currency": "ILS",
        "created_at": "2026-11-30T09:00:00+02:00", "updated_at": "2026-11-30T09:00:00+02:00", "financial_status": "paid",
        "current_total_price": "129.90", "total_price": "129.90", "subtotal_price": "109.90", "customer_locale": "en",
        "order_status_url": f"https://bench.example/orders/{number}", "note": None, "tags": "", "test": False,
        "billing_address": address, "shipping_address": address,
        "customer": {"id": 115310627314723954 + number, "first_name": "Noa", "last_name": "Levi", "default_address": address},
        "line_items": [
            {"id": 866550311766439020 + item, "title": f"Lamp {item}", "quantity": 1, "price": "21.98", "sku": f"L-{item}",
             "vendor": "Bench", "requires_shipping": True, "taxable": True, "gift_card": False, "properties": []}
            for item in range(5)
        ],
        "shipping_lines": [{"id": 271878346596884015, "title": "Post", "price": "20.00"}],
    }
    body = json.dumps(order, separators=(",", ":"))
    print(base64.b64encode(hmac.new(SECRET, body.encode(), hashlib.sha256).digest()).decode(), body, sep="\t")
