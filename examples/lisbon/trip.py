"""Stand-ins for travel services: each waits as long as such a service does and answers from a table."""

import json
import sys
import time

FARES = {"TP531": 142, "FR1147": 61, "LH1172": 188, "U24621": 74, "TP535": 119}


def search(args):
    time.sleep(0.4)
    return [{"id": flight, "from": args["from"], "to": args["to"], "date": args["date"]} for flight in FARES]


def fare(args):
    time.sleep(0.25)
    return {"flight": args["flight"], "price": FARES[args["flight"]]}


def hold(args):
    time.sleep(0.3)
    return {"flight": args["flight"], "code": "HOLD-" + args["flight"]}


def rooms(args):
    time.sleep(0.6)
    return [{"hotel": "Casa do Rio", "price": 88 * args["nights"]}, {"hotel": "Alfama Rooms", "price": 64 * args["nights"]}]


def forecast(args):
    time.sleep(0.2)
    print("the forecast service is out of order", file=sys.stderr)
    sys.exit(75)


def rank(args):
    cheapest = min(args["fares"], key=lambda f: f["price"])
    room = min(args["hotels"], key=lambda h: h["price"])
    return {"flight": cheapest["flight"], "hotel": room["hotel"], "price": cheapest["price"] + room["price"], "note": args["note"]}


if __name__ == "__main__":
    commands = {c.__name__: c for c in (search, fare, hold, rooms, forecast, rank)}
    json.dump(commands[sys.argv[1]](json.load(sys.stdin)), sys.stdout)
