"""How people outside name the two responses of a comparison: as its first row in the file has them, or by class.

The canonical table turns every comparison its own way round, and a file may show the two responses in different order
in different rows. Whatever is said about a comparison, by people or to them, is therefore said of its first row.
"""

import pandas as pd


def name_responses(annotations: pd.DataFrame, classes: tuple[str, str] | None = None) -> pd.DataFrame:
    """Return, by comparison_id, the names `a` and `b` of the canonical response_a and response_b, and `sign`.

    The names are response_a and response_b as the first row has them; chosen and rejected in the layout that has
    those; or the classes. `sign` is 1 where the canonical response_a is the one named first (response_a, chosen, the
    class that stands as response a), −1 where it is the other.

    Args:
        annotations: the canonical table as read, in the order of the file(s).
        classes: names of response a and b in a crowd table.
    """
    first = annotations.drop_duplicates("comparison_id").set_index("comparison_id")
    if classes:
        return pd.DataFrame({"a": classes[0], "b": classes[1], "sign": 1}, index=first.index)
    listed = first["listed_first"] != ""
    # Rows of the chosen/rejected layout name the responses by the vote: chosen first.
    side = first["listed_first"].where(listed, first["preference"])
    names = pd.DataFrame({"first": "response_a", "second": "response_b"}, index=first.index)
    names.loc[~listed, ["first", "second"]] = ["chosen", "rejected"]
    turned = side == "b"
    return pd.DataFrame(
        {
            "a": names["first"].where(~turned, names["second"]),
            "b": names["second"].where(~turned, names["first"]),
            "sign": 1 - 2 * turned.astype(int),
        }
    )
