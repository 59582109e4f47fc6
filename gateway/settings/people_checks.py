"""The table [people]: times that agree with one another, a domain that is ours, and a way for mails."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from auth.people import email_addresses
from gateway import references
from gateway.mail import smtp
from gateway.settings.faults import Fault
from gateway.settings.values import PeopleSettings, Settings


def find_people_faults(settings: Settings) -> Iterator[Fault]:
    people = settings.people
    if people.idle_ms > people.absolute_ms:
        yield Fault("people.idle_ms", f"is more than absolute_ms ({people.absolute_ms})")
    if people.step_up_ms > people.absolute_ms:
        yield Fault("people.step_up_ms", f"is more than absolute_ms ({people.absolute_ms})")
    if people.relying_party is not None:
        yield from _check_party(people.relying_party, settings.service.issuer)
    if email_addresses.find(people.mail_from) != people.mail_from.lower():
        yield Fault("people.mail_from", "is no address such as portreeve@example.com")
    yield from _check_mail(people)


def _check_party(party: str, issuer: str) -> Iterator[Fault]:
    """Browsers refuse any other, and only when somebody is already trying."""
    host = urlsplit(issuer).hostname or ""
    if party != host and not (host.endswith(f".{party}") and "." in party):
        yield Fault("people.relying_party", f"is neither the issuer's host ({host}) nor a domain above it")


def _check_mail(people: PeopleSettings) -> Iterator[Fault]:
    if people.mail == "smtp" and people.smtp_url is None:
        yield Fault("people.mail", 'is "smtp", but there is no smtp_url')
    if people.mail != "smtp" and people.smtp_url is not None:
        yield Fault("people.smtp_url", 'is set, but mail is not "smtp"')
    account: str | None = None
    if people.smtp_url is not None:
        try:
            account = smtp.parse_server(people.smtp_url).account
        except smtp.InvalidServer as failure:
            yield Fault("people.smtp_url", str(failure))
            return
    if (account is None) != (people.smtp_password is None):
        yield Fault("people.smtp_password", "and the account in smtp_url go together")
    if people.smtp_password is not None:
        try:
            references.parse(people.smtp_password)
        except references.MalformedReference as failure:
            yield Fault("people.smtp_password", str(failure))
