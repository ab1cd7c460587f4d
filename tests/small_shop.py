"""A shop of three orders in tau-bench's format: what its tests play where the real data is not needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builders import tool

CODES = {
    "get_order": 'def get_order(data, order_id):\n    import json\n    return json.dumps(data["orders"][order_id])\n',
    "cancel_order": (
        "def cancel_order(data, order_id):\n"
        '    order = data["orders"][order_id]\n'
        '    if order["status"] != "pending":\n'
        '        return "Error: only pending orders can be cancelled"\n'
        '    order["status"] = "cancelled"\n'
        '    data["refunds"].append(order["price"])\n'
        '    return "cancelled"\n'
    ),
    "transfer_to_human_agents": 'def transfer_to_human_agents(data, summary):\n    return "Transfer successful"\n',
}
ORDER = {"order_id": {"type": "string"}}
TOOLS = [
    tool("get_order", ORDER, ["order_id"]),
    tool("cancel_order", ORDER, ["order_id"]),
    tool("transfer_to_human_agents", {"summary": {"type": "string"}}, ["summary"]),
]
ORDERS = {
    "A1": {"status": "pending", "price": 1054.5},
    "A2": {"status": "pending", "price": 7},
    "A3": {"status": "delivered", "price": 12},
}
WIKI = "You serve the customers of a small shop."


def row(instruction: str, *calls: tuple[str, dict[str, Any]], outputs: tuple[str, ...] = ()) -> dict[str, Any]:
    """One task as tasks.jsonl holds it."""
    actions = [
        {"id": str(index), "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for index, (name, arguments) in enumerate(calls)
    ]
    return {"instruction": instruction, "actions": actions, "outputs": list(outputs), "data_source": "tau-bench/retail"}


CANCEL = row(
    "You are Ada. Cancel order A1 and ask what you get back.", ("cancel_order", {"order_id": "A1"}), outputs=("1054.5",)
)
NOTHING = row("You are Ben. You want to cancel A3, which was delivered.", ("get_order", {"order_id": "A3"}))


def write_shop(folder: Path, *rows: dict[str, Any]) -> Path:
    """The folder for --data taubench=FOLDER, with the retail half alone."""
    shop = folder / "retail"
    shop.mkdir(parents=True)
    for name, value in {"tools": TOOLS, "codes": CODES, "orders": ORDERS, "refunds": []}.items():
        (shop / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    (shop / "wiki.md").write_text(WIKI, encoding="utf-8")
    lines = "".join(json.dumps(each) + "\n" for each in rows or (CANCEL, NOTHING))
    (folder / "tasks.jsonl").write_text(lines, encoding="utf-8")
    return folder
