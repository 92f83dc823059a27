"""From recorded decisions to a better Memory Manager and Answer Agent (extra `train`).

    traces or conversations ─► rows ─► SFT, GRPO, PPO or LoGo-GRPO on one node ─► an adapter that the graph loads

`recipe.py` says what a run is, `run.py` carries it out. The rewards are what the Answer Agent makes of a decision; the
algorithms stand on TRL. Nothing of this is imported by the library.
"""
