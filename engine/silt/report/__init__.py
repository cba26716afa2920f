"""One result, rendered as text for people or as a JSON object for programs (DESIGN 10).

Nothing here prints or reads anything: functions take the records of `plan` and `replicate` and give
lines of text or plain data.  Every line carries its meaning in its first character (`units.SIGNS`),
so that colour, which the cli adds by that character, is never the only sign.
"""
