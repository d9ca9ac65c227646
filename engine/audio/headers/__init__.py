"""What the header of a recording says of its length, and how much sound there really is.

Recorders write a header before they know how long the sound will be, and many never come back to mend it. libsndfile
takes the smaller of header and file without a word, or refuses. Here the header is read beside it: what libsndfile is
shown is a view in which the length is right, and what the header promised is kept, to be compared with what was read.

A length is unknown where it is zero, or what recorders write into a pipe. Sound beyond the header is told from
metadata: metadata are whole chunks up to the file's end.
"""
