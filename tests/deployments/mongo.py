"""Talks to the MongoDB of a test deployment from within its network namespace, where its first user may be made.

    nsenter --target PID --net /usr/bin/python3 mongo.py initiate DEPLOYMENT                 (the password on stdin)
    … mongo.py fill|drop|digest DATABASE
"""

import hashlib
import sys
import time

import bson
import pymongo
from pymongo.errors import OperationFailure, PyMongoError


def client(password=None):
    user = {"username": "root", "password": password} if password else {}
    return pymongo.MongoClient("127.0.0.1", 27017, directConnection=True, serverSelectionTimeoutMS=30000, **user)


def initiate(name, password):
    """A replica set of one under the name that jobs use, and the user root; waits until it takes writes."""
    admin = client().admin
    admin.command({"replSetInitiate": {"_id": "rs0", "members": [{"_id": 0, "host": f"mongo.{name}:27017"}]}})
    deadline = time.monotonic() + 60
    while not admin.command("ismaster")["ismaster"]:
        assert time.monotonic() < deadline, "no primary after 60 s"
        time.sleep(0.2)
    admin.command("createUser", "root", pwd=password, roles=["root"])


def fill(database):
    visits = [{"_id": n, "patient": f"p{n % 700}", "values": [n * 0.5, n], "note": "größer" * (n % 9)} for n in range(5000)]
    database.visits.insert_many(visits)
    database.visits.create_index([("patient", 1), ("_id", -1)])
    database.patients.insert_many([{"_id": f"p{n}", "born": 1900 + n % 120} for n in range(700)])


def digest(database):
    """A line that is the same only when every document and every index is."""
    seen = hashlib.sha256()
    names = sorted(name for name in database.list_collection_names() if not name.startswith("longshore."))
    for name in names:
        seen.update(name.encode())
        for document in database[name].find().sort("_id", 1):
            seen.update(bson.encode(document))
        for index in sorted(database[name].index_information().items()):
            seen.update(repr(index).encode())
    return f"{len(names)} collections {seen.hexdigest()}"


def main():
    what, name = sys.argv[1:]
    password = sys.stdin.read().strip()
    if what == "initiate":
        return initiate(name, password)
    server = client(password)
    if what == "fill":
        fill(server[name])
    elif what == "drop":
        server.drop_database(name)
    else:
        print(digest(server[name]))


try:
    main()
except (PyMongoError, OperationFailure) as error:
    sys.exit(f"mongo.py: {error}")
