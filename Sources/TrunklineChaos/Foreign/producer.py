#!/usr/bin/python3
"""The producer of a chaos run that is not ours: Debian's python3-pika, which speaks AMQP by itself.

It reads jobs from a file that grows, publishes each with a confirm, and writes into its own file what it is about to try and
what the broker promised it. What is in doubt it gives again until it is promised. It ends on SIGTERM, or when the file says
that there is no more and everything is promised.

    AMQP_URL=URL producer.py EXCHANGE JOBS NOTES

A line of JOBS: {"note": {...}, "routingKey": "send", "body": "..."}, or {"end": true}. A line of NOTES is a line of the
chaos run's producer log: the note, with "kind", "mono" (CLOCK_MONOTONIC in nanoseconds), "number", and at the end "answer".
"""

import collections
import json
import os
import signal
import sys
import time

import pika
from pika.exceptions import NackError, UnroutableError

# The other producers count from 1.
FIRST_NUMBER = 1_000_000_000
# Kept apart from every connection and file of theirs.
PRODUCER = 1_000_000
PAUSE = 0.5


class Notes:
    """Each line is with the kernel before anything else happens."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.number = FIRST_NUMBER

    def write(self, kind, note, **more):
        record = dict(note, kind=kind, mono=time.monotonic_ns(), number=self.number, producer=PRODUCER, **more)
        os.write(self.file, (json.dumps(record) + "\n").encode())


class Jobs:
    """The whole lines of a file that grows."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.rest = b""

    def new(self):
        self.rest += self.file.read()
        *lines, self.rest = self.rest.split(b"\n")
        return [json.loads(line) for line in lines if line]


class Broker:
    """One connection at a time; a failed one is thrown away."""

    def __init__(self, url):
        self.parameters = pika.URLParameters(url)
        self.parameters.heartbeat = 5
        self.parameters.socket_timeout = 5
        self.parameters.stack_timeout = 8
        self.parameters.blocked_connection_timeout = 8
        self.connection = None
        self.channel = None

    def open(self):
        if self.channel is not None and self.channel.is_open:
            return
        self.drop()
        self.connection = pika.BlockingConnection(self.parameters)
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def drop(self):
        connection, self.connection, self.channel = self.connection, None, None
        try:
            if connection is not None and connection.is_open:
                connection.close()
        except Exception:
            pass

    def idle(self):
        """Heartbeats are answered only while somebody looks."""
        try:
            if self.connection is not None:
                self.connection.process_data_events(time_limit=0)
        except Exception:
            self.drop()

    def publish(self, exchange, job):
        """What the broker said: promised, notTaken or unknown. Nothing has been sent when the connection cannot be opened."""
        try:
            self.open()
        except Exception as error:  # pika wraps not all of what a socket may say.
            self.told(error)
            return "notTaken"
        try:
            self.channel.basic_publish(
                exchange,
                job["routingKey"],
                job["body"].encode(),
                pika.BasicProperties(content_type="application/json", delivery_mode=2),
                mandatory=True,
            )
            return "promised"
        except (NackError, UnroutableError):
            return "notTaken"
        except Exception as error:  # Whatever went wrong: nobody knows.
            self.told(error)
            return "unknown"

    def told(self, error):
        print(f"{time.monotonic_ns()} {error!r}", file=sys.stderr, flush=True)
        self.drop()


def main():
    url, (exchange, jobs_path, notes_path) = os.environ["AMQP_URL"], sys.argv[1:]
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    jobs, notes, broker = Jobs(jobs_path), Notes(notes_path), Broker(url)
    waiting = collections.deque()
    is_whole = False
    index = 0
    while not over:
        for job in jobs.new():
            if job.get("end"):
                is_whole = True
            else:
                waiting.append(job)
        if not waiting:
            if is_whole:
                break
            broker.idle()
            time.sleep(0.1)
            continue
        job = waiting.popleft()
        notes.number += 1
        notes.write("try", job["note"], index=index)
        index += 1
        answer = broker.publish(exchange, job)
        notes.write("end", {"key": job["note"]["key"]}, answer=answer)
        if answer != "promised":
            waiting.append(job)
            time.sleep(PAUSE)
    broker.drop()


if __name__ == "__main__":
    main()
