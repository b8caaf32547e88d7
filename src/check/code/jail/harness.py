"""Calls one function on each case and says what it returned, one line of JSON a case.

Reads what to call from standard input: source, entry, arguments, limits. What the calls have to
return is not among it, so that no program can find it here: who reads the lines compares. They go
to the pipe that was standard output; what the program itself reads or prints meets the device on
NULL. Lines missing at the end mean that the process ended in that case.
"""

import sys

# The working directory comes first, and is no place for modules.
sys.path = [folder for folder in sys.path if folder]

import json
import numbers
import os
import reprlib
import signal
import time
import types

NAME = "answer"
FILE = "answer.py"
# Opened before files were out of reach.
NULL = 3
# Longest message, longest description of a value, in characters.
SHOWN = 120
# Deepest value that can be equal to JSON: at three brackets a level it is still read.
DEPTH = 40


class OutOfTime(BaseException):
    """No `Exception`: a program's own handlers are not meant for it."""


class TooLarge(Exception):
    """The returned value takes more than the room for it."""


class Lacking(Exception):
    """Not the program's fault: this Python does not have what it asks for."""


def main():
    request = json.loads(os.fdopen(0, "rb", closefd=False).read())
    replies = os.dup(1)
    for standard in range(3):
        os.dup2(NULL, standard)
    os.close(NULL)
    signal.signal(signal.SIGALRM, out_of_time)
    tell(replies, '"started"')
    start = time.monotonic()
    program = Program(request)
    for args in request["cases"]:
        left = request["all_seconds"] - (time.monotonic() - start)
        if left <= 0:
            reply = failed("not run, the time for all cases was used up")
        else:
            reply = program.reply(args, min(left, request["case_seconds"]))
        tell(replies, reply)
    # Without what the program left to be done at the end.
    os._exit(0)


def tell(replies, reply):
    line = reply.encode() + b"\n"
    while line:
        line = line[os.write(replies, line) :]


def failed(what):
    return json.dumps({"failed": what})


# Whether a case is running, which is all that the alarm may interrupt.
running = False


def out_of_time(_signal, _frame):
    if running:
        raise OutOfTime


class Program:
    def __init__(self, request):
        self.source = request["source"]
        self.entry = request["entry"]
        self.room = request["room"]
        self.recursion = request["recursion"]
        self.code = None

    def reply(self, args, seconds):
        """What one call did, as a line."""
        global running
        try:
            try:
                running = True
                # Again and again: a bare `except:` of the program may catch one.
                signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
                return json_of(self.call(args), self.room)
            finally:
                running = False
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Lacking as lacking:
            return json.dumps({"unsupported": str(lacking)})
        except BaseException as error:
            return failed(f"raised {self.told(error)}")

    def call(self, args):
        sys.setrecursionlimit(self.recursion)
        # A module of its own, which some of the standard library looks for by its name. It is
        # imported, not run as the main one: what stands under such an `if` is no part of it.
        module = types.ModuleType(NAME)
        sys.modules[NAME] = module
        try:
            if self.code is None:
                self.code = compile(self.source, FILE, "exec", dont_inherit=True)
            try:
                exec(self.code, module.__dict__)
            except EOFError:
                # Sample calls at the end that ask for input, which no case needs.
                if self.entry not in module.__dict__:
                    raise
            return eval(self.entry, module.__dict__)(*args)
        except ModuleNotFoundError as error:
            if error.name is None:
                raise
            raise Lacking(f"no module named {error.name[:SHOWN]!r}") from None
        except RuntimeError as error:
            if str(error) != "can't start new thread":
                raise
            raise Lacking("threads") from None

    def told(self, error):
        """An exception in one line, with the line of the program that raised it."""
        kind, number = type(error).__name__, 0
        try:
            message = str(error)[:SHOWN]
        except BaseException:
            message = ""
        if isinstance(error, OutOfTime):
            kind, message = "TimeoutError", "time limit exceeded"
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILE:
                number = trace.tb_lineno
            trace = trace.tb_next
        if isinstance(error, SyntaxError) and not number:
            message, number = str(error.msg)[:SHOWN], error.lineno or 0
        lines = self.source.splitlines()
        line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        told = f"{kind[:SHOWN]}: {message}" if message else kind[:SHOWN]
        return f"{told}, in `{line[:SHOWN]}`" if line else told


def json_of(value, room):
    """The line for a returned value. Whatever needs more room equals no expected value."""
    pieces = []
    try:
        write(value, pieces, [room], 0)
    except TooLarge:
        text = f"{article(value)}, too large to compare"
        pieces = [json.dumps({"other": text})]
    return f'{{"returned": {"".join(pieces)}}}'


def write(value, pieces, room, depth):
    """Appends JSON: as it is what JSON has too, the rest as a table that names its kind."""

    def put(text):
        room[0] -= len(text)
        if room[0] < 0:
            raise TooLarge
        pieces.append(text)

    def put_all(opening, items, closing):
        put(opening)
        for index, item in enumerate(items):
            put("," if index else "")
            write(item, pieces, room, depth + 1)
        put(closing)

    if depth > DEPTH:
        raise TooLarge
    if isinstance(value, numbers.Number) and not isinstance(value, (int, float, complex)):
        value = plain(value)
    if value is None or isinstance(value, bool):
        put(json.dumps(value))
    elif isinstance(value, str):
        if str.__len__(value) > room[0]:
            raise TooLarge
        # Half of a surrogate pair cannot be written, and equals nothing that can.
        put(json.dumps(str.encode(value, "utf-8", "replace").decode()))
    elif isinstance(value, int):
        if int.bit_length(value) > 1024:
            put(json.dumps({"other": f"an int of {int.bit_length(value)} bits"}))
        else:
            put(f'{{"int": "{int.__repr__(value)}"}}')
    elif isinstance(value, float):
        put(f'{{"float": "{float.__repr__(value)}"}}')
    elif isinstance(value, list):
        put_all("[", list.__iter__(value), "]")
    elif isinstance(value, tuple):
        put_all('{"tuple": [', tuple.__iter__(value), "]}")
    elif isinstance(value, dict):
        put_all('{"dict": [', map(list, dict.items(value)), "]}")
    else:
        put(json.dumps({"other": described(value)}))


def plain(number):
    """A fraction or decimal as the number that it is equal to, if there is one."""
    try:
        top, bottom = number.as_integer_ratio()
        return top if bottom == 1 else top / bottom
    except (ArithmeticError, AttributeError, ValueError):
        return number


def described(value):
    """A value without the address that Python's own form may have, which differs each time."""
    if type(value) in (set, frozenset, bytes, bytearray, range, complex):
        return reprlib.repr(value)
    return article(value)


def article(value):
    return f"a {type(value).__name__[:SHOWN]}"


main()
