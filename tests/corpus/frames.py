# needs: pandas

# -- apply with a helper
import pandas as pd

def grade(x):
    return "good" if x > 5 else "bad"

dv.apply_sync(lambda df: df["x"].apply(grade), pd.DataFrame({"x": [3, 8]}))

# -- apply over rows with a lambda that uses a helper
import pandas as pd

def area(a, b):
    return a * b

def with_area(df):
    return df.assign(area=df.apply(lambda r: area(r["a"], r["b"]), axis=1))

dv.apply_sync(with_area, pd.DataFrame({"a": [1, 2], "b": [3, 4]}))

# -- groupby and aggregation with a helper
import pandas as pd

def spread(xs):
    return xs.max() - xs.min()

dv.apply_sync(lambda df: df.groupby("k")["v"].agg([spread, "sum"]), pd.DataFrame({"k": ["a", "b", "a"], "v": [1, 5, 9]}))

# -- merge, sort and pivot
import pandas as pd

def join(left, right):
    return left.merge(right, on="id").sort_values("y", ascending=False).reset_index(drop=True)

dv.apply_sync(join, pd.DataFrame({"id": [1, 2], "x": [5, 6]}), pd.DataFrame({"id": [2, 1], "y": [0, 1]}))

# -- made there with the module of the prompt
import pandas as pd

def table(n):
    return pd.DataFrame({"n": range(n), "square": [k * k for k in range(n)]}).set_index("n")

dv.apply_sync(lambda: table(3)), dv.apply_sync(lambda: table(4)["square"].sum())

# -- pipe with helpers
import pandas as pd

def positive(df):
    return df[df["x"] > 0]

def scaled(df, k):
    return df * k

dv.apply_sync(lambda df: df.pipe(positive).pipe(scaled, k=10), pd.DataFrame({"x": [-1, 2, 3]}))

# -- time series
import pandas as pd

def weekly(n):
    s = pd.Series(range(n), index=pd.date_range("2024-01-01", periods=n, freq="D"))
    return s.resample("7D").sum().tolist(), str(s.index[-1].date()), s.rolling(2).mean().iloc[-1]

dv.apply_sync(weekly, 10)

# -- categories, missing values and strings
import pandas as pd

def clean(names):
    s = pd.Series(names)
    return s.str.strip().fillna("none").map(str.title).tolist(), s.isna().tolist(), list(s.astype("category").cat.categories)

dv.apply_sync(clean, [" ann", None, "bob "])

# -- a subclass of a DataFrame's accessor by a class of the prompt
import pandas as pd

class Report:
    def __init__(self, df):
        self.df = df

    def totals(self):
        return {c: int(self.df[c].sum()) for c in self.df}

dv.apply_sync(lambda r: r.totals(), Report(pd.DataFrame({"a": [1, 2], "b": [3, 4]})))

# -- csv text is read there
import io

import pandas as pd

def load(text):
    df = pd.read_csv(io.StringIO(text), converters={"b": parse})
    return df

def parse(s):
    return float(s.replace(",", "."))

dv.apply_sync(load, 'a,b\n1,"2,5"\n3,"4,0"\n')
