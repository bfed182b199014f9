"""The words of the lab's world."""

from __future__ import annotations

NAMES = (
    "Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ida", "Jon", "Kim", "Leo",
    "Mia", "Ned", "Ola", "Pia", "Quin", "Rex", "Sue", "Tom", "Uma", "Vic", "Wim", "Zoe",
)  # fmt: skip
STUFF = (
    "tea", "milk", "jazz", "art", "snow", "rain", "sand", "silk", "gold", "iron", "wool", "corn",
    "salt", "mint", "fog", "ice",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "white", "black", "pink")
THINGS = ("cup", "hat", "box", "shoe", "bag", "jar")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("tall", "short"), ("wet", "dry"), ("fast", "slow"),
    ("old", "young"), ("rich", "poor"), ("full", "empty"), ("hard", "soft"), ("loud", "quiet"),
    ("light", "dark"), ("near", "far"), ("early", "late"), ("open", "shut"), ("clean", "dirty"),
    ("happy", "sad"), ("strong", "weak"), ("thick", "thin"), ("deep", "shallow"), ("wide", "narrow"),
)  # fmt: skip
CATEGORIES = {
    "animal": ("horse", "tiger", "rabbit", "goat", "wolf", "mouse", "camel", "otter"),
    "plant": ("oak", "fern", "rose", "tulip", "moss", "ivy", "birch", "clover"),
    "food": ("bread", "cheese", "soup", "honey", "rice", "butter", "salad", "cake"),
    "tool": ("hammer", "saw", "drill", "wrench", "shovel", "axe", "chisel", "rake"),
    "garment": ("coat", "scarf", "glove", "shirt", "skirt", "sock", "vest", "apron"),
    "vehicle": ("bus", "tram", "truck", "ferry", "wagon", "canoe", "bike", "plane"),
    "sport": ("golf", "judo", "rowing", "tennis", "chess", "hockey", "boxing", "polo"),
}
PHRASES = (
    "The answer is . , ? : user assistant system",
    # thinking words and what holds a rationale together
    "Okay let us think First Wait check So Therefore we are done We Then see that Clearly and Hmm so",
    # ring
    "has shells She gains loses After 9 comes 0 How many does have",
    # ordering
    "leads Who in the row",
    # lookup
    "helps likes From follow What there",
    # counting
    "On shelf a of these yes no",
    # swapping
    "ball at Places change Where now",
    # skills
    "Say again backwards opposite kind",
)
VERBS = ("finds", "drops", "soars", "dives", "pays", "bills", "hops", "slides")
"""Of the covered families of version 2."""
PHRASES_2 = (
    "lift bug the It climbs sinks ends is",
    "coins meets gives takes",
    "in one word does like play eat",
)


def vocabulary(version: int = 1) -> tuple[str, ...]:
    """Every word of a version of the world once, in a fixed order; version 2 adds to version 1's."""
    words: list[str] = []
    for phrase in PHRASES:
        words += phrase.split()
    words += [str(digit) for digit in range(10)]
    words += [*ORDINALS, *NAMES, *STUFF, *COLOURS, *THINGS]
    words += [word for pair in OPPOSITES for word in pair]
    for kind, members in CATEGORIES.items():
        words += [kind, *members]
    if version > 1:
        words += [word for phrase in PHRASES_2 for word in phrase.split()]
        words += VERBS
    return tuple(dict.fromkeys(words))
