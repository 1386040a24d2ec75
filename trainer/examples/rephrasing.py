"""One question in other words, without a language model: equal for an equal seed.

A fact that is only ever asked for in one wording is found again only by that wording
(Allen-Zhu and Li, arxiv.org/abs/2309.14316). The rephrasings need not be good English: they teach
that the words that carry the meaning decide, whatever stands around them.
"""

import random
import re
from collections.abc import Sequence

# Words that any question may hold: they say nothing about what is asked for.
_FUNCTION_WORDS = """
    a about after again all also always am an and any are as at be because been before being but
    by can could did do does doing down during each ever every for from had has have he her here
    hers him his how i if in into is it its just like many may me might mine more most much must
    my no nor not of off on once one or other our out over own please s said same say shall she
    should so some such t tell than that the their theirs them then there these they thing this
    those through to too under until up upon us very was we were what when where which while who
    whom whose why will with would yes yet you your yours
"""
COMMON = frozenset(_FUNCTION_WORDS.split())

# Words that may stand for one another in questions about a life. General English, no life's own.
ALIKE: tuple[tuple[str, ...], ...] = (
    ("mother", "mum", "mama"),
    ("father", "dad", "papa"),
    ("parents", "mother and father"),
    ("child", "kid"),
    ("children", "kids"),
    ("grandmother", "granny"),
    ("grandfather", "grandpa"),
    ("wife", "spouse", "partner"),
    ("husband", "spouse", "partner"),
    ("married", "wed"),
    ("marry", "wed"),
    ("wedding", "marriage ceremony"),
    ("engaged", "betrothed"),
    ("job", "work", "occupation"),
    ("profession", "trade", "occupation"),
    ("trade", "profession", "job"),
    ("boss", "employer"),
    ("employer", "boss"),
    ("salary", "wage", "pay"),
    ("wages", "pay"),
    ("wage", "pay"),
    ("company", "firm"),
    ("firm", "company"),
    ("school", "schoolhouse"),
    ("teacher", "schoolteacher", "tutor"),
    ("taught", "instructed"),
    ("teach", "instruct"),
    ("learn", "pick up"),
    ("learned", "picked up"),
    ("study", "read"),
    ("subject", "topic"),
    ("house", "home"),
    ("home", "house"),
    ("village", "hamlet", "place"),
    ("town", "city"),
    ("city", "town"),
    ("country", "nation"),
    ("street", "road"),
    ("room", "chamber"),
    ("garden", "yard"),
    ("shop", "store"),
    ("store", "shop"),
    ("live", "dwell"),
    ("lived", "dwelt"),
    ("moved", "relocated"),
    ("move", "relocate"),
    ("born", "brought into the world"),
    ("birthplace", "place of birth"),
    ("birthday", "date of birth"),
    ("died", "passed away"),
    ("die", "pass away"),
    ("death", "passing"),
    ("ill", "sick"),
    ("illness", "sickness"),
    ("doctor", "physician"),
    ("hospital", "clinic"),
    ("operation", "surgery"),
    ("car", "automobile", "vehicle"),
    ("bicycle", "bike"),
    ("boat", "vessel"),
    ("ship", "vessel"),
    ("train", "railway"),
    ("journey", "trip"),
    ("trip", "journey"),
    ("holiday", "vacation"),
    ("travel", "go"),
    ("travelled", "went"),
    ("visit", "go to see"),
    ("visited", "went to see"),
    ("dog", "hound", "pet"),
    ("cat", "pet"),
    ("horse", "pony"),
    ("animal", "creature"),
    ("name", "called"),
    ("called", "named"),
    ("nickname", "pet name"),
    ("buy", "purchase"),
    ("bought", "purchased"),
    ("sell", "part with"),
    ("sold", "parted with"),
    ("cost", "price"),
    ("pay", "spend"),
    ("paid", "spent"),
    ("money", "cash"),
    ("gift", "present"),
    ("present", "gift"),
    ("gave", "handed"),
    ("give", "hand"),
    ("get", "receive"),
    ("got", "received"),
    ("keep", "hold on to"),
    ("kept", "held on to"),
    ("lose", "mislay"),
    ("lost", "mislaid"),
    ("find", "come across"),
    ("found", "came across"),
    ("build", "make"),
    ("built", "made"),
    ("make", "build"),
    ("made", "built"),
    ("repair", "mend", "fix"),
    ("repaired", "mended", "fixed"),
    ("start", "begin"),
    ("started", "began"),
    ("begin", "start"),
    ("began", "started"),
    ("stop", "give up"),
    ("stopped", "gave up"),
    ("finish", "end"),
    ("close", "shut"),
    ("closed", "shut"),
    ("open", "start"),
    ("opened", "started"),
    ("retire", "stop working"),
    ("retired", "stopped working"),
    ("retirement", "end of working life"),
    ("win", "gain"),
    ("won", "gained"),
    ("prize", "award"),
    ("award", "prize"),
    ("favourite", "best loved"),
    ("favorite", "best loved"),
    ("love", "adore"),
    ("loved", "adored"),
    ("hate", "dislike"),
    ("hated", "disliked"),
    ("dislike", "hate"),
    ("afraid", "scared"),
    ("fear", "dread"),
    ("proud", "pleased"),
    ("regret", "feel sorry about"),
    ("happy", "glad"),
    ("sad", "unhappy"),
    ("angry", "cross"),
    ("friend", "companion"),
    ("friends", "companions"),
    ("neighbour", "person next door"),
    ("neighbor", "person next door"),
    ("meet", "come to know"),
    ("met", "came to know"),
    ("food", "dish"),
    ("meal", "food"),
    ("dish", "food"),
    ("cook", "prepare"),
    ("cooked", "prepared"),
    ("eat", "have"),
    ("drink", "beverage"),
    ("breakfast", "morning meal"),
    ("supper", "evening meal"),
    ("dinner", "evening meal"),
    ("song", "tune"),
    ("tune", "song"),
    ("music", "tunes"),
    ("book", "volume"),
    ("film", "picture"),
    ("movie", "film"),
    ("game", "sport"),
    ("sport", "game"),
    ("hobby", "pastime"),
    ("pastime", "hobby"),
    ("clothes", "garments"),
    ("colour", "shade"),
    ("color", "shade"),
    ("big", "large"),
    ("small", "little"),
    ("old", "aged"),
    ("young", "youthful"),
    ("first", "earliest"),
    ("last", "final"),
    ("early", "first"),
    ("later", "afterwards"),
    ("year", "date"),
    ("day", "date"),
    ("often", "frequently"),
    ("war", "wartime"),
    ("army", "military"),
    ("church", "chapel"),
    ("belief", "faith"),
    ("advice", "counsel"),
    ("lesson", "teaching"),
    ("mistake", "error"),
    ("secret", "hidden thing"),
    ("dream", "hope"),
    ("wish", "hope"),
    ("use", "rely on"),
    ("used", "relied on"),
    ("carry", "bring along"),
    ("carried", "brought along"),
    ("wear", "have on"),
    ("wore", "had on"),
    ("hurt", "injured"),
    ("accident", "mishap"),
    ("storm", "bad weather"),
    ("flood", "high water"),
    ("fire", "blaze"),
    ("letter", "note"),
    ("write", "put on paper"),
    ("wrote", "put on paper"),
    ("speak", "talk"),
    ("language", "tongue"),
)

# Words that say which kind of answer is wanted: they stay when the rest of a question is thinned.
ASKING = re.compile(
    r"\b(?:when|where|who|whom|whose|why|how (?:many|much|old|long)|how)\b", re.IGNORECASE
)

_REPLACEMENTS = {words[0]: words[1:] for words in ALIKE}
MEANING_MIN = 3  # keywords that a thinned question keeps at least
DROPPED_SHARE = 0.5  # of the longer questions lose one more

_OWNER = re.compile(r"['\u2019]s$")  # "father's" is asked for as "father" too
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def keywords(text: str) -> list[str]:
    """The words of a text that carry its meaning, in order, each once.

    Examples:
        >>> keywords("In which village were you born, and when?")
        ['village', 'born']
    """
    words: dict[str, str] = {}
    for word in _WORD.findall(text):
        if word.lower() not in COMMON:
            words.setdefault(word.lower(), word)
    return list(words.values())


def reworded(question: str, draw: random.Random) -> str:
    """The question with words that mean nearly the same, wherever some are known."""

    def other(found: re.Match[str]) -> str:
        choices = _REPLACEMENTS.get(found[0].lower())
        return draw.choice(choices) if choices else found[0]

    return _WORD.sub(other, question)


def thinned(question: str, draw: random.Random) -> str:
    """What is left of the question's meaning in a hurry: its keywords, some reworded or dropped."""
    words = [_OWNER.sub("", word) for word in keywords(question)]
    if len(words) > MEANING_MIN and draw.random() < DROPPED_SHARE:
        words.remove(draw.choice(words))
    draw.shuffle(words)
    asking = [found.lower() for found in ASKING.findall(question)]
    return reworded(" ".join([*asking[:1], *words]), draw) + "?"


def rephrasings(question: str, count: int, draw: random.Random) -> list[str]:
    """At most `count` different wordings of a question, the question itself first.

    Examples:
        >>> rephrasings("Which dog?", 1, random.Random(1))
        ['Which dog?']
    """
    found = [question]
    turns: Sequence[str] = ("thinned", "reworded", "thinned", "shortened")
    for attempt in range(4 * count):
        if len(found) >= count:
            break
        turn = turns[attempt % len(turns)]
        if turn == "thinned":
            other = thinned(question, draw)
        elif turn == "reworded":
            other = reworded(question, draw)
        else:
            other = " ".join(keywords(question))
        if other.strip(" ?") and other not in found:
            found.append(other)
    return found[:count]
