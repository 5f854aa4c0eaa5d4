"""MQLambda's domain: from an interaction to a promotion, free of AWS except store and publisher."""
