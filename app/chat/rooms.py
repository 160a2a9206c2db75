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
# What nobody sees: format characters and spaces, and, of other categories, joiners, fillers and variation selectors.
INVISIBLE_CATEGORIES = {"Cf", "Zs"}
INVISIBLE_CHARACTERS = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"} | {
    chr(number) for first, last in ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF)) for number in range(first, last + 1)
}


def composed(name: str) -> str:
    """The name in its composed form (NFC): a syllable that is typed on a Mac comes as three characters."""
    return unicodedata.normalize("NFC", name)


def room_problem(name: str) -> str | None:
    """What is wrong with `name` as the name of a room, in words; None if it is fine."""
    name = composed(name)
    if not any(_visible(character) for character in name):
        return "a room needs a name that can be seen"
    if len(name) > NAME_LIMIT:
        return f"a room's name has at most {NAME_LIMIT} characters; this one has {len(name)}"
    if name in FORBIDDEN_NAMES or any(
        character in FORBIDDEN_CHARACTERS or unicodedata.category(character) in FORBIDDEN_CATEGORIES
        for character in name
    ):
        return "a room's name takes letters, digits, signs and spaces of any script, but no slash or control character"
    return None


def _visible(character: str) -> bool:
    return unicodedata.category(character) not in INVISIBLE_CATEGORIES and character not in INVISIBLE_CHARACTERS


def group_name(room: str) -> str:
    """The Channels group of `room`. Channels takes ASCII names only, so it is a digest of the name's composed form."""
    return f"room.{hashlib.sha256(composed(room).encode()).hexdigest()[:32]}"
