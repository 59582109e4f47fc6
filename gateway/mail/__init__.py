"""How mails to people leave: into files beside the store, or by a mail server."""
