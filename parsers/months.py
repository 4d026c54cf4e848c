"""Month names that strftime(3) prints for %b in glibc's locales, to numbers.

Croatian is left out: its "lis" and "srp" are October and July, in Polish and Czech November and August.
"""

from typing import Final

ENGLISH: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LANGUAGES: Final = {
    "English": "jan feb mar apr may jun jul aug sep oct nov dec",
    "Bulgarian": "яну фев мар апр май юни юли авг сеп окт ное дек",
    "Catalan": "gen febr març abr maig juny jul ag set oct nov des",
    "Czech": "led úno bře dub kvě čen čec srp zář říj lis pro",
    "Danish": "jan feb mar apr maj jun jul aug sep okt nov dec",
    "Dutch": "jan feb mrt apr mei jun jul aug sep okt nov dec",
    "Finnish": "tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu",
    "French": "janv févr mars avril mai juin juil août sept oct nov déc",
    "German": "jan feb mär apr mai jun jul aug sep okt nov dez",
    "Greek": "ιαν φεβ μαρ απρ μαΐ ιουν ιουλ αυγ σεπ οκτ νοε δεκ",
    "Hungarian": "jan febr márc ápr máj jún júl aug szept okt nov dec",
    "Italian": "gen feb mar apr mag giu lug ago set ott nov dic",
    "Norwegian": "jan feb mars april mai juni juli aug sep okt nov des",
    "Polish": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "Portuguese": "jan fev mar abr mai jun jul ago set out nov dez",
    "Romanian": "ian feb mar apr mai iun iul aug sep oct nov dec",
    "Russian": "янв фев мар апр мая июн июл авг сен окт ноя дек",
    "Slovak": "jan feb mar apr máj jún júl aug sep okt nov dec",
    "Spanish": "ene feb mar abr may jun jul ago sep oct nov dic",
    "Swedish": "jan feb mar apr maj jun jul aug sep okt nov dec",
    "Turkish": "oca şub mar nis may haz tem ağu eyl eki kas ara",
    "Ukrainian": "січ лют бер кві тра чер лип сер вер жов лис гру",
}
_NUMBERS: Final = {
    name: number for names in _LANGUAGES.values() for number, name in enumerate(names.split(), start=1)
}


def month_number(name: str) -> int | None:
    """Return 10 for "Oct", "okt", "oct." or "10月"; None for another word."""
    if name[-1:] in {"月", "월"}:
        number = int(name[:-1]) if name[:-1].isdecimal() else 0
        return number if 1 <= number <= 12 else None
    return _NUMBERS.get(name.lower().rstrip("."))
