"""The peer's side of bench_forecast_peer: runs in an environment of its own that has neuralforecast, prints one line.

    PEER_PYTHON tests/bench/forecasting/peer_neuralforecast.py LONG.csv --origins 287 --steps 420

One training on the rows before the first origin, then forecasts of 30 days from each of the last origins.
"""

import argparse
import json
import logging
import time
import warnings

import numpy as np
import pandas as pd

HORIZONS = (1, 7, 30)


def main() -> None:
    """Train, forecast, score."""
    options = argparse.ArgumentParser()
    options.add_argument("data")
    options.add_argument("--origins", type=int, default=287)
    options.add_argument("--steps", type=int, default=420)
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import neuralforecast
    import torch
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import GRU

    torch.set_num_threads(1)
    frame = pd.read_csv(given.data)
    frame = frame[frame["quantity"].str.startswith("displacement")]
    frame["ds"] = pd.to_datetime(frame["time"], utc=True).dt.tz_localize(None).dt.floor("D")
    wide = frame.pivot_table(index="ds", columns="station", values="value").asfreq("D")
    truth = wide.to_numpy()
    # it takes no gaps: the last value is carried over them
    long = wide.ffill().bfill().reset_index().melt(id_vars="ds", var_name="unique_id", value_name="y")
    long = long[["unique_id", "ds", "y"]]
    settings = {
        "h": max(HORIZONS),
        "input_size": 60,
        "encoder_hidden_size": 32,
        "encoder_n_layers": 1,
        "decoder_hidden_size": 32,
        "decoder_layers": 1,
        "loss": MQLoss(level=[80, 95]),
        "learning_rate": 2e-3,
        "batch_size": truth.shape[1],
        "windows_batch_size": 64 * truth.shape[1],
        "scaler_type": "robust",
        "random_seed": given.seed,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }

    def run(steps: int) -> tuple[pd.DataFrame, float, int]:
        """Train so many steps before the first origin, forecast from all; with the processor time."""
        model = GRU(max_steps=steps, **settings)
        begun = time.process_time()
        made = NeuralForecast(models=[model], freq="D").cross_validation(
            long, n_windows=given.origins, step_size=1, refit=False
        )
        return made, time.process_time() - begun, sum(p.numel() for p in model.parameters())

    # one step costs next to nothing: what is left is reading, cutting and forecasting
    _, asked, _ = run(1)
    made, both, parameters = run(given.steps)
    column = "GRU-median"
    days = {day: row for row, day in enumerate(wide.index)}
    names = {name: i for i, name in enumerate(wide.columns)}
    ahead = (made["ds"] - made["cutoff"]).dt.days.to_numpy()
    seen = truth[made["ds"].map(days).to_numpy(), made["unique_id"].map(names).to_numpy()]
    error = np.abs(made[column].to_numpy() - seen)
    out = {
        "version": neuralforecast.__version__,
        "mae": {f"{h}d": round(float(np.nanmean(error[ahead == h])), 4) for h in HORIZONS},
        "n": int(np.isfinite(error[ahead == 1]).sum()),
        "parameters": int(parameters),
        "train_cpu_s": round(both - asked, 2),
        "forecast_cpu_s": round(asked, 2),
    }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
