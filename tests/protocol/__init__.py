"""A model check of the core protocol: every interleaving of a small world, every fault in it.

Actors record, join, promote, decide, relay, pay again, erase and take apart as the code does: each
read and each transaction is one step, with exactly the code's conditions, and between any two of
them everything else may happen. The environment loses requests and answers, delivers transactions
late and twice (without DynamoDB's request tokens, so later and more often than AWS would), delivers
messages and stream records again or never, and kills actors. After each state in which no actor is
at work the sweep runs, and has to find nothing wrong.

A container that remembers is one that pauses between two steps. Not modelled: what points are worth
and when they fade (one act pays 1, the bar is 2), several acts in one transaction, the daily most,
detectors, carrying, webhooks and links, the sweep's pages, leases and brakes, and more than 99
items of an erased lead. A read of a lead through the one it became part of, or of one partition, is
one step. Late copies do not outlive a retention: it is over a year, they are minutes.
"""
