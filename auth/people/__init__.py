"""People: who they are, how they prove it, and for how long that holds.

`accounts.Accounts` is for those who keep accounts; `own_passwords.OwnPasswords`, `second_factors.SecondFactors` and
`passkeys.Passkeys` are for whoever an account is of; `sign_in.SignIn` and `sessions.Sessions` are what stands between a
browser and all else. Nothing here knows HTTP: a cookie is a text.
"""
