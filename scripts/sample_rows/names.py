"""Invented places, people and things, put together by chance; a likeness to real ones is chance too."""

from scripts.sample_rows.draw import Draw

MONTHS = ("March", "April", "May", "June", "July", "August", "September", "October")
SEASONS = ("spring", "summer", "autumn", "winter")

_PLACE_STARTS = (
    *("Al", "Bran", "Cor", "Dun", "El", "Fal", "Gren", "Hol", "Is", "Jar", "Kel", "Lor", "Mar"),
    *("Nor", "Os", "Pel", "Quar", "Ros", "Sel", "Tor", "Ul", "Vel", "Wes", "Yar", "Zan"),
)
_PLACE_ENDS = (
    *("bury", "wick", "stead", "haven", "ford", "mere", "ton", "dale", "holm", "gate", "by"),
    *("moor", "march", "field", "cross", "port"),
)
PLACES = tuple(start + end for start in _PLACE_STARTS for end in _PLACE_ENDS)

FIRST_NAMES = (
    *("Ada", "Bruno", "Clara", "Dario", "Edith", "Felix", "Greta", "Hugo", "Irma", "Jonas"),
    *("Katja", "Leo", "Mina", "Nils", "Olga", "Pavel", "Rosa", "Stefan", "Tilda", "Viktor"),
    *("Wanda", "Yusuf"),
)
LAST_NAMES = (
    *("Arden", "Bell", "Carrow", "Dunmore", "Ekhart", "Fenwright", "Galloway", "Hollis"),
    *("Ingram", "Jessop", "Kerrigan", "Lindqvist", "Morvan", "Nyberg", "Orlov", "Pascoe"),
    *("Quill", "Rowntree", "Sayer", "Thorne", "Ullman", "Varga", "Whitlock", "Yates", "Zeller"),
)

BUILDINGS = (
    *("lighthouse", "museum", "library", "castle", "mill", "theatre", "observatory", "chapel"),
    *("bridge", "market hall", "botanical garden", "railway station", "windmill", "town hall"),
    *("lock", "pier"),
)
OBJECTS = ("ring", "diary", "violin", "map", "crown", "painting", "key", "clock", "coat", "camera")


def person(draw: Draw) -> str:
    """Return a first and a last name."""
    return f"{draw.pick(FIRST_NAMES)} {draw.pick(LAST_NAMES)}"


def year(draw: Draw) -> int:
    """Return a year between 1780 and 1990."""
    return draw.between(1780, 1990)


def article(noun: str) -> str:
    """Return the noun with a or an."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def sentence(text: str) -> str:
    """Return the text with a capital letter in front."""
    return text[0].upper() + text[1:]
