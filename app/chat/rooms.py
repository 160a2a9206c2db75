"""Names of rooms: any script, 1 to 64 characters."""

import hashlib
import unicodedata

NAME_LIMIT = 64
# Control characters, lone surrogates, line and paragraph separators. Format characters (category Cf) are
# welcome: emoji sequences and right-to-left text need them.
FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
# A slash would be another path, a dot name is resolved away by browsers, and U+FFFD is what bytes that
# are not UTF-8 become on the way here.
FORBIDDEN_CHARACTERS = {"/", "\ufffd"}
FORBIDDEN_NAMES = {".", ".."}


def room_problem(name: str) -> str | None:
    """What is wrong with `name` as the name of a room, in words; None if it is fine."""
    if not name.strip():
        return "a room needs a name"
    if len(name) > NAME_LIMIT:
        return f"a room's name has at most {NAME_LIMIT} characters; this one has {len(name)}"
    if name in FORBIDDEN_NAMES or any(
        character in FORBIDDEN_CHARACTERS or unicodedata.category(character) in FORBIDDEN_CATEGORIES
        for character in name
    ):
        return "a room's name takes letters, digits, signs and spaces of any script, but no slash or control character"
    return None


def group_name(room: str) -> str:
    """The Channels group of `room`. Channels takes ASCII names only, so it is a digest of the name; of its
    composed form (NFC), so that 한글 typed on any system is the same room.
    """
    digest = hashlib.sha256(unicodedata.normalize("NFC", room).encode()).hexdigest()
    return f"room.{digest[:32]}"
