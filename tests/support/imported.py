"""Imported last, where processes are forked from: none of them looks for garbage in what was imported before, nor has
Hydra compose again what is composed here."""

import gc

from rnn_research.config.compose import Composer

Composer().run(["dataset=adding"])
gc.freeze()
