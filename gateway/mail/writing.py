"""A mail as it is handed over: one plain text, with headers that nobody outside has written."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from auth.people.mail import Mail


def write(mail: Mail, *, sender: str, message_id: str, now_ms: int) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    message["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
    # No out-of-office note is to answer a machine.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text.reveal())
    return message.as_bytes()
