"""Other people's pickles, read behind bars: a restricted unpickler in a bounded subprocess."""
