"""`Client`: somebody in the chat, from the first attempt to come in until the load is over or it leaves; and their `Company`."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType

import gevent
from chatsocket import ABNORMAL, ChatSocket, Closed
from gevent.event import Event
from labchat import Message, Resumed, Welcome
from sitechat import SiteChat
from target import Target, error_text

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 15.0  # as in the chat page (app/chat/static/chat/chat.js)
FINAL_CODES = {4409}  # the room's name is not allowed: the page does not try again either
RESEND_AFTER_S = 1.0
GOODBYE_S = 3.0  # for an answer to it
NORMAL = 1000


@dataclass
class Connection:
    """One attempt to connect, and what became of it: a row, written when it is over."""

    client: int
    room: int
    server_name: str | None  # what the server calls this socket
    source_address: str | None
    instance: str | None
    connect_start_s: float
    connect_s: float | None = None  # until the welcome
    end_s: float | None = None
    close_code: int | None = None
    error: str | None = None
    attempt: int = 1
    role: str = "talker"
    left: bool = False  # its client was done, while others stayed


class Company:
    """All clients of a process. What becomes of what they tell, a subclass says: `said`, `heard`, `came_in`, `ended`."""

    sending = True  # whether anybody is to say anything
    gate: AbstractContextManager = nullcontext()  # what a client comes in by

    def __init__(self, target: Target, chat: ModuleType | SiteChat, size_bytes: int):
        self.target = target
        self.chat = chat  # how the chat under load is spoken
        self.text = "x" * size_bytes
        self.over = Event()
        self.connecting: set[Client] = set()  # whose row of a connection is yet to be written
        self.tried = self.connected = self.ever_connected = self.troubles = 0

    def said(self, client: Client, n: int, sent_s: float, burst: bool) -> None:
        """`client` is about to say its message `n`."""
        raise NotImplementedError

    def heard(self, client: Client, message: Message, received_s: float) -> None:
        """`client` was told a message, whoever's."""
        raise NotImplementedError

    def came_in(self, connection: Connection) -> None:
        """Somebody is in the room."""
        self.connected += 1
        self.ever_connected += 1

    def ended(self, connection: Connection) -> None:
        """A connection is over, or never came to be."""
        raise NotImplementedError


class Client:
    """One client, at a place in a room that others may have had before it."""

    def __init__(self, company: Company, index: int, room: int, role: str, messages_per_s: float = 0.0):
        self.company, self.target = company, company.target
        self.index, self.room, self.role, self.messages_per_s = index, room, role, messages_per_s
        self.socket: ChatSocket | None = None
        self.connection: Connection | None = None
        self.welcomed = self.cut_off = False
        self.leaving = Event()
        self.attempts = self.retries = self.numbered = 0
        self.last_id: str | None = None  # the newest message seen, where the server keeps history
        self.unconfirmed: dict[int, str] = {}  # sent, and not come back yet; kept only with history
        self.earlier: list[int] = []  # of these, what was said over connections that ended

    # -- the connection -------------------------------------------------------------------------

    def stay(self) -> None:
        """Be in the room until the load is over, or this client leaves, however often the connection ends."""
        if self.messages_per_s:
            gevent.spawn(self.keep_sending)
        while not self.done:
            code = self.connect_and_read()
            if code in FINAL_CODES:
                return
            if not self.done and not self.cut_off:
                longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self.retries)
                self.retries += 1
                gevent.sleep(random.uniform(longest_s / 2, longest_s))

    @property
    def done(self) -> bool:
        return self.company.over.is_set() or self.leaving.is_set()

    def connect_and_read(self) -> int | None:
        """One connection, from its first packet to its end. Returns the close code, if there was one."""
        self.attempts += 1
        self.cut_off = False
        source_address = self.target.source_address(self.index)
        row = Connection(
            self.index, self.room, None, source_address, None, self.target.now(), attempt=self.attempts, role=self.role
        )
        self.connection = row
        self.company.connecting.add(self)
        with self.company.gate:  # a wait for it is a wait to come in, as the client feels it
            try:
                self.socket = ChatSocket(self.target, self.company.chat.join(f"load-{self.room}"), source_address)
            except OSError as error:
                row.error = error_text(error)
        if self.socket:
            try:
                self.enter()
                for texts in self.socket.blocks():
                    self.take(texts, self.target.now())
                    if self.welcomed and self.role == "slow_reader":
                        self.company.over.wait()  # what has come meanwhile is read then, to learn how it ended
            except Closed as closed:
                row.close_code = closed.code
            except OSError as error:
                row.error = error_text(error)
            self.socket.close()
        self.gone()
        return row.close_code

    def enter(self) -> None:
        """The handshake is done: where no welcome comes, that is to be in the room."""
        welcome, first = self.company.chat.enter(f"load-{self.room}", f"{self.index}.{self.attempts}")
        if first is not None:
            self.socket.send(first)
        if welcome is not None:
            self.take_welcome(welcome, self.target.now())

    def gone(self) -> None:
        """The connection has ended, or never came to be."""
        if self.connection.connect_s is None:
            self.try_is_over()
        self.company.connected -= self.welcomed
        self.company.troubles += not (self.done or self.cut_off)
        self.welcomed = False
        self.socket = None
        self.write_connection()

    def try_is_over(self) -> None:
        """The first attempt has succeeded or failed: the ramp-up waits for that of every client."""
        if self.attempts == 1:
            self.company.tried += 1

    def write_connection(self) -> None:
        """Write the row of the connection that has ended, or that the end of the load cuts off."""
        row, self.connection = self.connection, None
        self.company.connecting.discard(self)
        if row is None:
            return
        row.end_s = row.end_s or self.target.now()
        if row.connect_s is not None and row.close_code in (None, ABNORMAL):
            if self.cut_off:
                row.close_code = row.error = None
            elif self.done and not (self.role == "slow_reader" and (row.close_code or row.error)):
                row.close_code, row.error = NORMAL, None  # we said goodbye and did not wait for the answer
        self.company.ended(row)

    def say_goodbye(self) -> None:
        """Close the socket properly, if there is one."""
        if self.welcomed:
            try:
                self.socket.say_goodbye(NORMAL)
            except OSError:
                pass  # it ended in this moment; the reader sees that too

    def leave(self) -> None:
        """Be done, while others stay. Whoever does not answer the goodbye is not waited for."""
        if self.connection:  # it may be between two
            self.connection.left, self.connection.end_s = True, self.target.now()
        self.leaving.set()
        self.say_goodbye()
        if self.socket:
            gevent.spawn_later(GOODBYE_S, self.drop, self.socket)

    def lose_connection(self) -> None:
        """As when the network between is gone for a moment: come back, and at once."""
        if self.socket and self.role != "slow_reader":
            self.cut_off = True
            self.drop(self.socket)

    def drop(self, socket: ChatSocket) -> None:
        """End `socket`, if it is still there; its reader finds that out."""
        if self.socket is socket:
            socket.cut()

    # -- what arrives ---------------------------------------------------------------------------

    def take(self, texts: list[bytes], received_s: float) -> None:
        """Frames have arrived."""
        for text in texts:
            what = self.company.chat.recognise(text)
            if isinstance(what, Message):
                self.take_message(what, received_s)
            elif isinstance(what, Welcome):
                self.take_welcome(what, received_s)
            elif isinstance(what, Resumed):
                self.take_page(what)

    def take_message(self, message: Message, received_s: float) -> None:
        self.company.heard(self, message, received_s)
        if self.last_id is not None:
            self.last_id = max(self.last_id, message.id, key=order)
            if message.sender in self.own_names:
                self.unconfirmed.pop(message.n, None)

    def take_welcome(self, welcome: Welcome, received_s: float) -> None:
        row = self.connection
        row.connect_s = received_s - row.connect_start_s
        row.server_name, row.instance = welcome.name, welcome.instance or self.socket.instance
        self.try_is_over()
        self.welcomed = True
        self.retries = 0
        self.company.came_in(row)
        if welcome.last_id is None:
            return
        if self.last_id is None:
            self.last_id, self.own_names = welcome.last_id, {welcome.name}
            return
        self.own_names.add(welcome.name)
        self.earlier = [*self.unconfirmed]
        self.socket.send(self.company.chat.resume(self.last_id))

    def take_page(self, page: Resumed) -> None:
        if page.more:
            self.socket.send(self.company.chat.resume(page.last_id))
        elif self.earlier:
            gevent.spawn(self.resend, self.socket)

    # -- what is sent ---------------------------------------------------------------------------

    def keep_sending(self) -> None:
        """Send at random times, whatever became of the message before."""
        due_s = self.target.now()
        while not self.leaving.is_set() and self.company.sending:
            due_s += random.expovariate(self.messages_per_s)
            gevent.sleep(due_s - self.target.now())
            self.say()

    def say(self, burst: bool = False) -> None:
        """Send the next message, numbered and stamped, if there is somebody to send it to."""
        if not self.welcomed or self.leaving.is_set() or not self.company.sending:
            return
        self.numbered += 1
        sent_s = self.target.now()
        text = self.company.chat.send(self.connection.server_name, self.numbered, sent_s, self.company.text)
        if self.last_id is not None:
            self.unconfirmed[self.numbered] = text
        self.company.said(self, self.numbered, sent_s, burst)
        try:
            self.socket.send(text)
        except OSError:
            pass  # the connection ended in this moment: sent, as far as the sender knew

    def resend(self, socket: ChatSocket) -> None:
        """Where history is kept, nothing is lost: once the history has been read, repeat what was said `earlier`, and did
        not come back. (A moment later: the server may have heard it just after this connection was there.)
        """
        gevent.sleep(RESEND_AFTER_S)
        for text in [self.unconfirmed[n] for n in self.earlier if n in self.unconfirmed]:
            if self.socket is not socket:
                return
            try:
                socket.send(text)
            except OSError:
                return


def order(message_id: str) -> tuple[int, int]:
    """The place of a message's id in the room's history ("milliseconds-number") among others."""
    milliseconds, _, number = message_id.partition("-")
    return int(milliseconds), int(number)
