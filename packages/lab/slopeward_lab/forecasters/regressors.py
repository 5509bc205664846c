"""Regressions of scikit-learn on lagged rows: linear, random forest, support vectors and a multilayer perceptron.

Landslide papers compare their networks with these four. Scikit-learn fits the regression. What it determined, such as
the nodes of the trees or the support vectors, is then stored as tensors, and PyTorch computes the forecast from them. A
checkpoint is therefore a safetensors file like that of every network, contains no pickle, and gives the same forecast
with every version of scikit-learn.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forecasting.data.series import Floats
from forecasting.errors import NotEnoughDataError
from forecasting.neural.network import QUANTILES, Network, Shape

if TYPE_CHECKING:
    from forecasting.neural.learner import Examples

LAGS: Final = (0, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45)
"""Rows before the newest one that a regression reads, so far as the window has them."""
MOST_PAIRS: Final = 4000
"""Examples that a regression is fitted to, evenly taken from all. The time of support vectors grows with the square."""
SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the predicted correction that are tried on the early-stop block."""
LARGEST: Final = 10.0
"""Largest absolute target and prediction, in the unit of the correction."""
FEWEST_TARGETS: Final = 20
"""Known targets of a horizon that a regression needs."""
_NARROWEST: Final = 1e-3  # smallest distance between two quantiles, in the unit of the correction


class LaggedRegression(Network):
    """Regression of the correction of the simple forecast on the rows at `LAGS`, one per horizon.

    The early-stop block determines which share of the predicted correction is used, so that a regression that learned
    only noise does not spoil the simple forecast, and the quantiles: those of the errors on this block.

    A subclass defines `fit` and `regress`, and names the tensors that it stores.
    """

    is_fitted_directly = True
    stored: ClassVar[tuple[str, ...]]
    """Names of the tensors that `fit` returns."""

    share: Tensor
    fan: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.lags = tuple(lag for lag in LAGS if lag < shape.window)
        self.horizons = shape.horizons
        self.hidden = shape.hidden
        self.head = nn.Identity()
        # The quantiles of a normal distribution whose median absolute value is 1, as in every untrained network.
        normal = NormalDist()
        usual = [normal.inv_cdf(level) / normal.inv_cdf(0.75) for level in QUANTILES]
        self.register_buffer("share", torch.zeros(shape.horizons, dtype=torch.float64))
        self.register_buffer("fan", torch.tensor(usual, dtype=torch.float64).repeat(shape.horizons, 1))
        for name in self.stored:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))
        self.register_load_state_dict_pre_hook(_allocate_stored)  # type: ignore[no-untyped-call]

    def fit(self, inputs: Floats, targets: Floats, *, seed: int) -> Mapping[str, NDArray[Any]]:
        """Fit the regression and return the tensors of `stored`.

        Args:
            inputs: Shape (N, D).
            targets: Shape (N, H), NaN if unknown. Every horizon has known targets.
            seed: Seed of random choices.
        """
        raise NotImplementedError

    def regress(self, inputs: Tensor) -> Tensor:
        """Return the predicted corrections, (N, D) -> (N, H), both in double precision."""
        raise NotImplementedError

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Return the quantiles of each station."""
        inputs = self._select(rows, known)
        medians = self._predict(inputs) * self.share
        # Explanations by gradients need an output that depends on the inputs. Trees have the gradient 0.
        medians = medians + 0.0 * inputs.sum(dim=-1, keepdim=True)
        return (medians.unsqueeze(-1) + self.fan).to(rows.dtype)

    def fit_examples(self, fit: "Sequence[Examples]", early_stop: "Examples", *, seed: int) -> None:
        """Fit the regression, then share and quantiles on the early-stop block."""
        # Scikit-learn is imported here, because a stored regression does not need it.
        from threadpoolctl import threadpool_limits

        tables = [self._tabulate(examples) for examples in fit]
        inputs = np.concatenate([table[0] for table in tables])
        targets = np.concatenate([table[1] for table in tables])
        step = max(1, -(-len(targets) // MOST_PAIRS))
        # Sums of several threads depend on the number of threads.
        with threadpool_limits(limits=1):
            fitted = self.fit(inputs[::step], targets[::step], seed=seed)
        for name in self.stored:
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(fitted[name])))
        self.share.fill_(1.0)
        held_inputs, held_targets = self._tabulate(early_stop)
        with torch.inference_mode():
            predicted = self._predict(torch.from_numpy(held_inputs)).numpy()
        for horizon in range(self.horizons):
            is_known = np.isfinite(held_targets[:, horizon])
            share, fan = _choose_share(predicted[is_known, horizon], held_targets[is_known, horizon])
            self.share[horizon] = share
            self.fan[horizon] = torch.from_numpy(fan)

    def _predict(self, inputs: Tensor) -> Tensor:
        """Return the predicted corrections, (..., D) -> (..., H); 0 before the regression is fitted."""
        if not bool(self.share.any()):
            return inputs.new_zeros(*inputs.shape[:-1], self.horizons)
        predicted = self.regress(inputs.flatten(0, -2)).clamp(-LARGEST, LARGEST)
        return predicted.reshape(*inputs.shape[:-1], self.horizons)

    def _select(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Return what the regression reads of each window: (B, S, W, F) -> (B, S, D) in double precision."""
        newest = rows.shape[2] - 1
        lagged = rows[:, :, [newest - lag for lag in self.lags]].flatten(2).double()
        if known is None:
            return lagged
        repeated = known.flatten(1).unsqueeze(1).expand(-1, rows.shape[1], -1)
        return torch.cat([lagged, repeated.double()], dim=-1)

    def _tabulate(self, examples: "Examples") -> tuple[Floats, Floats]:
        """Return what the regression reads of each window and its targets, shapes (N, D) and (N, H)."""
        motion, *others = examples.inputs
        drivers, static = (*others, None, None)[:2]
        with torch.inference_mode():
            rows = self.with_drivers(motion, self.drop_sources(motion, drivers), static)
            inputs = self._select(rows, self.ahead(drivers)).flatten(0, 1).numpy()
        targets = examples.wanted.flatten(0, 1).numpy().astype(np.float64)
        has_target = np.isfinite(targets).any(axis=1)
        return inputs[has_target], np.clip(targets[has_target], -LARGEST, LARGEST)


def _allocate_stored(module: LaggedRegression, state_dict: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
    """Give the stored tensors of a module the sizes that they have in a checkpoint."""
    for name in module.stored:
        if (tensor := state_dict.get(prefix + name)) is not None:
            module.register_buffer(name, torch.empty_like(tensor))


def _choose_share(predicted: Floats, targets: Floats) -> tuple[float, Floats]:
    """Return the share of the prediction with the smallest mean absolute error, and the quantiles of its errors."""
    mean_errors = [float(np.abs(targets - share * predicted).mean()) for share in SHARES]
    share = SHARES[int(np.argmin(mean_errors))]
    fan = np.quantile(targets - share * predicted, QUANTILES)
    centre = QUANTILES.index(0.5)
    fan[centre] = 0.0
    for upper in range(centre + 1, len(fan)):
        fan[upper] = max(fan[upper], fan[upper - 1] + _NARROWEST)
    for lower in range(centre - 1, -1, -1):
        fan[lower] = min(fan[lower], fan[lower + 1] - _NARROWEST)
    return share, fan


def _fit_each_horizon(make: Any, inputs: Floats, targets: Floats) -> list[Any]:
    """Return an estimator for each horizon, fitted to the examples whose target is known.

    Raises:
        NotEnoughDataError: A horizon has fewer than `FEWEST_TARGETS` known targets.
    """
    estimators = []
    for column in targets.T:
        is_known = np.isfinite(column)
        if (count := int(is_known.sum())) < FEWEST_TARGETS:
            raise NotEnoughDataError(f"a horizon has {count} known targets, a regression needs {FEWEST_TARGETS}")
        estimators.append(make().fit(inputs[is_known], column[is_known]))
    return estimators


class LinearRegression(LaggedRegression):
    """Multiple linear regression by least squares on lagged rows."""

    stored = ("coefficients", "intercepts")
    coefficients: Tensor
    intercepts: Tensor

    def fit(self, inputs: Floats, targets: Floats, *, seed: int) -> Mapping[str, NDArray[Any]]:
        """Fit the coefficients (H, D) and intercepts (H)."""
        from sklearn.linear_model import LinearRegression as LeastSquares

        del seed
        estimators = _fit_each_horizon(LeastSquares, inputs, targets)
        return {
            "coefficients": np.stack([estimator.coef_ for estimator in estimators]),
            "intercepts": np.array([estimator.intercept_ for estimator in estimators]),
        }

    def regress(self, inputs: Tensor) -> Tensor:
        """Return the linear prediction."""
        return inputs @ self.coefficients.T + self.intercepts


class RandomForest(LaggedRegression):
    """Random forest on lagged rows (Breiman 2001, Machine Learning 45)."""

    stored = ("roots", "features", "thresholds", "left", "right", "means")
    roots: Tensor
    features: Tensor
    thresholds: Tensor
    left: Tensor
    right: Tensor
    means: Tensor

    TREES: ClassVar[int] = 100

    def fit(self, inputs: Floats, targets: Floats, *, seed: int) -> Mapping[str, NDArray[Any]]:
        """Fit 100 trees per horizon and return their nodes, joined to one list."""
        from sklearn.ensemble import RandomForestRegressor

        def make() -> Any:
            return RandomForestRegressor(
                self.TREES, min_samples_leaf=5, max_features=1.0 / 3.0, random_state=seed, n_jobs=1
            )

        forests = _fit_each_horizon(make, inputs, targets)
        trees = [estimator.tree_ for forest in forests for estimator in forest.estimators_]
        ends = np.cumsum([tree.node_count for tree in trees])
        roots = ends - [tree.node_count for tree in trees]
        return {
            "roots": roots.reshape(len(forests), self.TREES).astype(np.int32),
            "features": np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int32),
            "thresholds": np.concatenate([tree.threshold for tree in trees]),
            "left": _join_children([tree.children_left for tree in trees], roots),
            "right": _join_children([tree.children_right for tree in trees], roots),
            "means": np.concatenate([tree.value[:, 0, 0] for tree in trees]).astype(np.float32),
        }

    def regress(self, inputs: Tensor) -> Tensor:
        """Return the mean over the leaves that each window reaches."""
        predicted = inputs.new_empty(inputs.shape[0], self.horizons)
        for horizon, roots in enumerate(self.roots.long()):
            nodes = roots.expand(inputs.shape[0], -1)
            while True:
                values = inputs.gather(1, self.features[nodes].long())
                children = torch.where(values <= self.thresholds[nodes], self.left[nodes], self.right[nodes]).long()
                if torch.equal(children, nodes):
                    break
                nodes = children
            predicted[:, horizon] = self.means[nodes].double().mean(dim=1)
        return predicted


def _join_children(children_of_trees: Sequence[NDArray[np.int64]], roots: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the number of one child of every node in the joined list.

    A leaf is its own child, so that a descent through a shallow tree stays in its leaf.
    """
    joined = []
    for children, root in zip(children_of_trees, roots, strict=True):
        is_leaf = children < 0
        joined.append(np.where(is_leaf, np.arange(children.size), children) + root)
    return np.concatenate(joined).astype(np.int32)


class SupportVectorRegression(LaggedRegression):
    """Support vector regression with a Gaussian kernel on lagged rows (Vapnik 1995)."""

    stored = ("centre", "scale", "vectors", "widths", "weights_of_vectors", "intercepts")
    centre: Tensor
    scale: Tensor
    vectors: Tensor
    widths: Tensor
    weights_of_vectors: Tensor
    intercepts: Tensor

    AT_ONCE: ClassVar[int] = 512  # windows whose distances to all support vectors are in memory at once

    def fit(self, inputs: Floats, targets: Floats, *, seed: int) -> Mapping[str, NDArray[Any]]:
        """Fit support vectors to standardised inputs, and return those of all horizons as one list.

        Returns:
            The vectors (V, D) with the exponent of the kernel of each (V,) and its weight at each horizon (V, H), mean
            and standard deviation of the inputs (D), and intercepts (H).
        """
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        del seed
        scaler = StandardScaler().fit(inputs)
        standardised = scaler.transform(inputs)
        estimators = _fit_each_horizon(lambda: SVR(C=1.0, epsilon=0.1), standardised, targets)
        counts = [len(estimator.support_vectors_) for estimator in estimators]
        weights = np.zeros((sum(counts), len(estimators)))
        horizon_of_vector = np.repeat(np.arange(len(estimators)), counts)
        weights[np.arange(sum(counts)), horizon_of_vector] = np.concatenate(
            [estimator.dual_coef_[0] for estimator in estimators]
        )
        # `gamma="scale"` of scikit-learn, which is not a public attribute of the fitted estimator
        is_known = np.isfinite(targets)
        variances = [float(standardised[is_known[:, h]].var()) for h in range(len(estimators))]
        exponents = np.array([1.0 / (inputs.shape[1] * variance) if variance else 1.0 for variance in variances])
        return {
            "centre": scaler.mean_,
            "scale": scaler.scale_,
            "vectors": np.concatenate([estimator.support_vectors_ for estimator in estimators]),
            "widths": exponents[horizon_of_vector],
            "weights_of_vectors": weights,
            "intercepts": np.array([estimator.intercept_[0] for estimator in estimators]),
        }

    def regress(self, inputs: Tensor) -> Tensor:
        """Return the sum of the kernels."""
        standardised = (inputs - self.centre) / self.scale
        sums = []
        for part in standardised.chunk(-(-len(inputs) // self.AT_ONCE)):
            squares = torch.cdist(part, self.vectors).square()
            sums.append(torch.exp(-self.widths * squares) @ self.weights_of_vectors)
        return torch.cat(sums) + self.intercepts


class NeuralRegression(LaggedRegression):
    """Multilayer perceptron with one hidden layer on lagged rows, the "ANN" or "BPNN" of landslide papers."""

    stored = ("centre", "scale", "input_weights", "input_intercepts", "output_weights", "output_intercepts")
    centre: Tensor
    scale: Tensor
    input_weights: Tensor
    input_intercepts: Tensor
    output_weights: Tensor
    output_intercepts: Tensor

    def fit(self, inputs: Floats, targets: Floats, *, seed: int) -> Mapping[str, NDArray[Any]]:
        """Fit a perceptron per horizon to standardised inputs.

        Training ends after ten epochs without gain on a tenth of the examples. Without this, the perceptron learns the
        noise of a record of a few hundred rows.
        """
        from sklearn.neural_network import MLPRegressor
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(inputs)

        def make() -> Any:
            return MLPRegressor(
                hidden_layer_sizes=(self.hidden,),
                learning_rate_init=5e-3,
                alpha=1e-2,
                early_stopping=True,
                max_iter=500,
                random_state=seed,
            )

        estimators = _fit_each_horizon(make, scaler.transform(inputs), targets)
        return {
            "centre": scaler.mean_,
            "scale": scaler.scale_,
            "input_weights": np.stack([estimator.coefs_[0] for estimator in estimators]),
            "input_intercepts": np.stack([estimator.intercepts_[0] for estimator in estimators]),
            "output_weights": np.stack([estimator.coefs_[1][:, 0] for estimator in estimators]),
            "output_intercepts": np.array([estimator.intercepts_[1][0] for estimator in estimators]),
        }

    def regress(self, inputs: Tensor) -> Tensor:
        """Return the output of each perceptron."""
        standardised = (inputs - self.centre) / self.scale
        states = torch.einsum("nd,hdc->nhc", standardised, self.input_weights) + self.input_intercepts
        return (torch.relu(states) * self.output_weights).sum(dim=-1) + self.output_intercepts
