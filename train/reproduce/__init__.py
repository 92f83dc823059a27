"""The paper's claims in miniature: `make reproduce`, or `python -m langgraph_memory_r1.train.reproduce --help`.

arms.py       what is compared: trainings, some of which several arms share
right_decisions.py  rows with right decisions, for the arm that needs them
jobs.py       trainings and evaluations side by side, each done once, gone on with after a kill
outcome.py    conversations for a manager, questions for an answerer: exact match of the answers
confusion.py  what the manager did where something else was right
claims.py, curves.py   what is left to be read
smoke.py      the same in three minutes: `make reproduce-smoke`
"""
