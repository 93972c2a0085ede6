"""Two shops that tell Trunkline's gateways of their orders: a Shopify shop and a WooCommerce store, each with its own headers
and signatures. Every event comes twice, to one gateway or the other: the repeats of an order's first word come after newer ones,
and orders come in each other's midst. Where nobody answers, or not well, an event is sent again to the next gateway, as the
shops and the proxies in front of gateways do. Only a parcel's first word waits until its order's first word was taken: an order
that is on its way already is not confirmed any more, and how many those are nobody could tell beforehand.

It shares no line with Trunkline: signatures, bodies and the keys that must be sent are made here.
Usage: shops.py PROGRESS.TXT <SHOPS.JSON, with
    {"gateways": [PORT, …], "orders": N, "shops": [{"kind": "shopify", "id": ID, "path": PATH, "secret": SECRET}, …]}
Prints {"posted": …, "again": …, "keys": […]}: posts that were answered well, tries that were not, and the keys of every notice.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import random
import sys
import threading
import time

PER_SECOND = 60
CALLERS = 4


def signed(secret, body):
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def shopify(shop, number, now):
    """What a shop says of one order: that it was placed, and that a parcel left."""
    order, parcel = 820982911946154000 + number, 255858046000000000 + number
    phone = f"054-{2000000 + number:07d}"
    address = {"first_name": "Noa", "last_name": "Levi", "phone": phone, "country_code": "IL"}
    time_of = lambda minutes: (now - datetime.timedelta(minutes=minutes)).isoformat()
    placed = {
        "id": order, "name": f"#{number}", "created_at": time_of(30), "updated_at": time_of(30), "currency": "ILS",
        "current_total_price": "129.90", "customer_locale": "en", "shipping_address": address,
        "line_items": [{"title": "Lamp", "quantity": 1}],
    }
    left = {
        "id": parcel, "order_id": order, "name": f"#{number}.1", "status": "success", "updated_at": time_of(5),
        "tracking_number": f"T{number}", "tracking_company": "Post", "destination": address,
    }
    for topic, event in (("orders/create", placed), ("fulfillments/create", left)):
        body = json.dumps(event).encode()
        yield {
            "X-Shopify-Topic": topic, "X-Shopify-Shop-Domain": "acme.myshopify.com",
            "X-Shopify-Event-Id": f"{topic}-{number}", "X-Shopify-Webhook-Id": f"{topic}-{number}",
            "X-Shopify-Hmac-Sha256": signed(shop["secret"], body),
        }, body, f"order:{shop['id']}.{order}:" + ("confirmed" if topic == "orders/create" else f"shipped:{parcel}")


def woocommerce(shop, number, now):
    """The same of a store, which has one body for everything that becomes of an order."""
    time_of = lambda minutes: (now - datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S")
    order = {
        "id": number, "number": f"W{number}", "status": "processing", "currency": "ILS", "total": "89.00",
        "date_created_gmt": time_of(30), "date_modified_gmt": time_of(30), "line_items": [{"name": "Mug", "quantity": 2}],
        "billing": {"first_name": "Adam", "last_name": "Cohen", "phone": f"053 {3000000 + number:07d}", "country": "IL"},
    }
    parcel = {"tracking_provider": "Post", "tracking_number": f"P{number}"}
    later = order | {
        "date_modified_gmt": time_of(5), "meta_data": [{"key": "_wc_shipment_tracking_items", "value": [parcel]}],
    }
    for topic, event in (("order.created", order), ("order.updated", later)):
        body = json.dumps(event).encode()
        yield {
            "X-WC-Webhook-Topic": topic, "X-WC-Webhook-Source": "https://bolt.example/", "X-WC-Webhook-ID": "7",
            "X-WC-Webhook-Delivery-ID": hashlib.md5(f"{topic}{number}".encode()).hexdigest(),
            "X-WC-Webhook-Signature": signed(shop["secret"], body),
        }, body, f"order:{shop['id']}.{number}:" + ("confirmed" if topic == "order.created" else f"shipped:P{number}")


KINDS = {"shopify": shopify, "woocommerce": woocommerce}


class Postman:
    """Posts what is due, over connections that are kept, and counts."""

    def __init__(self, gateways, posts, progress):
        self.gateways, self.posts, self.progress = gateways, posts, progress
        self.lock = threading.Lock()
        self.begin = time.monotonic()
        self.taken = self.posted = self.again = 0
        self.known = {}

    def next(self):
        with self.lock:
            if self.taken == len(self.posts):
                return None
            self.taken += 1
            return self.taken - 1, self.posts[self.taken - 1]

    def taken_of(self, order):
        with self.lock:
            return self.known.setdefault(order, threading.Event())

    def noted(self, was_good):
        with self.lock:
            if was_good:
                self.posted += 1
                self.progress.write(f"{self.posted}\n")
                self.progress.flush()
            else:
                self.again += 1

    def work(self):
        connections = {}
        while (item := self.next()) is not None:
            place, (order, is_first, path, headers, body) = item
            time.sleep(max(0, self.begin + place / PER_SECOND - time.monotonic()))
            if not is_first:
                self.taken_of(order).wait()
            turn = place
            while True:
                port = self.gateways[turn % len(self.gateways)]
                was_good = self.post(connections, port, path, headers, body)
                self.noted(was_good)
                if was_good:
                    self.taken_of(order).set()
                    break
                turn += 1
                time.sleep(0.2)

    def post(self, connections, port, path, headers, body):
        connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=5))
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"} | headers)
            answer = connection.getresponse()
            answer.read()
            return 200 <= answer.status < 300
        except (OSError, http.client.HTTPException):
            connection.close()
            return False


def main():
    setup = json.load(sys.stdin)
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    posts, keys = [], []
    dice = random.Random(7)
    for shop in setup["shops"]:
        for number in range(1001, 1001 + setup["orders"]):
            for step, (headers, body, key) in enumerate(KINDS[shop["kind"]](shop, number, now)):
                keys.append(key)
                first = number + 7 * step + dice.uniform(0, 6)
                post = ((shop["id"], number), step == 0, shop["path"], headers, body)
                posts += [(first, post), (first + dice.uniform(0, 20), post)]
    posts.sort(key=lambda post: post[0])
    with open(sys.argv[1], "w", encoding="utf-8") as progress:
        postman = Postman(setup["gateways"], [post for _, post in posts], progress)
        callers = [threading.Thread(target=postman.work) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    json.dump({"posted": postman.posted, "again": postman.again, "keys": keys}, sys.stdout)


main()
