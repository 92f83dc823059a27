"""From recorded decisions to a better Memory Manager and Answer Agent (extra `train`).

    traces or conversations ─► rows ─► SFT, GRPO, PPO or LoGo-GRPO on one node ─► an adapter that the graph loads

    recipe.py                       what a run is, TRL's settings included
    sources.py, from_traces.py      what the recipe names ─► rows
    rows.py                         rows as values and files; what is held out
    rollout.py                      many conversations at once, one batch of model calls a step
    models.py, engines.py           base and adapters, what replies to prompts; generation elsewhere
    rewards.py                      the frozen answerer and the rewards
    grpo.py, ppo.py, logo.py, sft.py    one algorithm each, on TRL
    trl_seams.py                    all that is private of TRL
    stage.py, run.py                one stage made ready; all stages carried out
    validation.py, checkpoints.py   greedy scores, the best weights; going on after a kill
    sharded.py                      models that several processes share
    show.py, cards.py, bases.py     dry run and progress; data cards, model cards, export; shapes of the paper's bases
    tiny/, reproduce/               a base of two million parameters, and the paper's claims on it

Nothing of this is imported by the library.
"""
