"""Train an agent to balance a pole on a cart by its policy's gradient (REINFORCE, with a baseline).

python examples/cartpole.py
python examples/cartpole.py --seed 3 --built-in

The cart-pole is gymnasium's CartPole-v1 where that is installed, else one that is built in. Source:
Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning", 1992.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import numpy as np

import gpunet as keras

MOST_STEPS = 500  # of an episode
EPISODES = 24  # of an update, played side by side
TESTED = 20  # episodes that the agent is tested in
DISCOUNT = 0.99
SOLVED = 195  # mean length of the tested episodes
ENOUGH = 450  # mean length of an update's episodes that ends the training


class CartPole:
    """Cart-poles side by side, after Barto, Sutton and Anderson, 1983.

    A state is the cart's position (m) and velocity, the pole's angle (radians) and its velocity. An
    episode ends where the cart leaves its 4.8 m of track or the pole is 12 degrees off.
    """

    GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
    LIMITS = np.array([2.4, np.inf, np.radians(12), np.inf])

    def __init__(self, count: int, seed: int) -> None:
        self.rng, self.count = np.random.default_rng(seed), count

    def reset(self) -> np.ndarray:
        """Start an episode each; return the states (count, 4)."""
        self.states = self.rng.uniform(-0.05, 0.05, (self.count, 4))
        return self.states.astype("float32")

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Push each cart to the left (0) or right (1); return the states, and which episodes ended.

        The pole swings about its joint on the cart. With both masses M and the pole's mass m at a
        distance l from the joint, angle a, and u = (force + m l a'^2 sin a) / M:

            a'' = (g sin a - u cos a) / (l (4 / 3 - m cos^2 a / M)),   x'' = u - m l a'' cos a / M
        """
        _, velocity, angle, turning = self.states.T
        sine, cosine = np.sin(angle), np.cos(angle)
        force, both = np.where(actions == 1, self.FORCE, -self.FORCE), self.CART + self.POLE
        moment = self.POLE * self.HALF_LENGTH
        push = (force + moment * turning**2 * sine) / both
        inertia = self.HALF_LENGTH * (4 / 3 - self.POLE * cosine**2 / both)
        twist = (self.GRAVITY * sine - push * cosine) / inertia
        acceleration = push - moment * twist * cosine / both
        rates = np.stack([velocity, acceleration, turning, twist], axis=1)
        self.states = self.states + self.SECONDS * rates
        return self.states.astype("float32"), (np.abs(self.states) > self.LIMITS).any(axis=1)


class Gymnasium:
    """Environments of gymnasium side by side, used as `CartPole` is."""

    def __init__(self, count: int, seed: int) -> None:
        import gymnasium

        self.environments = [gymnasium.make("CartPole-v1") for _ in range(count)]
        self.seeds: list[int | None] = [1000 * seed + i for i in range(count)]

    def reset(self) -> np.ndarray:
        pairs = zip(self.environments, self.seeds, strict=True)
        states = [environment.reset(seed=seed)[0] for environment, seed in pairs]
        self.seeds = [None] * len(states)  # the next episodes start elsewhere
        self.states, self.ended = np.array(states, "float32"), np.zeros(len(states), bool)
        return self.states.copy()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for i in np.flatnonzero(~self.ended):
            self.states[i], _, ended, _, _ = self.environments[i].step(int(actions[i]))
            self.ended[i] = ended
        return self.states.copy(), self.ended.copy()


class Played(NamedTuple):
    """What happened in some episodes: an entry for each step that was taken."""

    states: np.ndarray
    actions: np.ndarray
    returns: np.ndarray  # the discounted rewards from the step on; each step's is 1
    lengths: np.ndarray  # of each episode


def build_networks() -> tuple[Any, Any]:
    """Return the policy, which gives the actions' probabilities, and the baseline, a value."""
    layers, optimizers = keras.layers, keras.optimizers
    policy = keras.Sequential(
        [layers.Input((4,)), layers.Dense(64, "tanh"), layers.Dense(2, "softmax")]
    )
    # Weighted by advantages, the cross-entropy of the actions has the policy's gradient.
    policy.compile(optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    baseline = keras.Sequential([layers.Input((4,)), layers.Dense(64, "tanh"), layers.Dense(1)])
    baseline.compile(optimizers.Adam(1e-2), "mse")
    return policy, baseline


def play(policy: Any, world: Any, rng: np.random.Generator | None = None) -> Played:
    """Play an episode in each environment, by actions drawn by `rng`, or else by the likeliest."""
    states, alive, steps = world.reset(), np.ones(1, bool), []
    while len(steps) < MOST_STEPS and alive.any():
        likely = policy(states).numpy()[:, 1]
        chance = 0.5 if rng is None else rng.random(len(states))
        actions = (likely > chance).astype("int64")
        alive = np.broadcast_to(alive, len(states))
        steps.append((states, actions, alive))
        states, ended = world.step(actions)
        alive = alive & ~ended
    all_states, all_actions, taken = (np.stack(part) for part in zip(*steps, strict=True))
    return Played(
        all_states[taken], all_actions[taken], discounted(taken)[taken], taken.sum(axis=0)
    )


def discounted(taken: np.ndarray) -> np.ndarray:
    """Return for each step (steps, episodes) the discounted number of steps from there on."""
    returns = np.zeros(taken.shape, "float32")
    after = np.zeros(taken.shape[1], "float32")
    for t in reversed(range(len(taken))):
        after = returns[t] = taken[t] * (1 + DISCOUNT * after)
    return returns


def learn(policy: Any, baseline: Any, played: Played) -> None:
    """Make actions that did better than their states' value likelier, and others less likely."""
    targets = (1 - DISCOUNT) * played.returns[:, None]  # from 0 to 1
    advantages = (targets - baseline(played.states).numpy())[:, 0]
    advantages /= advantages.std() + 1e-6
    policy.train_on_batch(played.states, played.actions, sample_weight=advantages)
    for _ in range(5):
        baseline.train_on_batch(played.states, targets)


def main() -> None:
    args = parse_arguments()
    keras.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    make_world = choose_world(args.built_in)
    world, tests = make_world(EPISODES, args.seed), make_world(TESTED, args.seed + 10_000)
    policy, baseline = build_networks()
    start = time.perf_counter()
    before = play(policy, tests).lengths.mean()
    for update in range(1, args.updates + 1):
        played = play(policy, world, rng)
        length = played.lengths.mean()
        if update % 10 == 0 or length >= ENOUGH:
            print(f"Update {update}: episodes of {length:.0f} steps")
        if length >= ENOUGH:
            break
        learn(policy, baseline, played)
    after = play(policy, tests).lengths.mean()
    seconds = time.perf_counter() - start
    print(f"Mean length of {TESTED} episodes: {before:.1f} before training, {after:.1f} after it")
    print(f"{'Solved' if after > SOLVED else 'Not solved'}, in {seconds:.1f} s")


def choose_world(built_in: bool) -> Any:
    """Return `Gymnasium` where it is installed and wanted, else `CartPole`."""
    if not built_in:
        try:
            import gymnasium

            print(f"Cart-pole: gymnasium {gymnasium.__version__}")
            return Gymnasium
        except ImportError:
            pass
    print("Cart-pole: built in")
    return CartPole


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=150, help="of the policy, at most")
    parser.add_argument("--built-in", action="store_true", help="use no gymnasium")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.updates < 0:
        parser.error(f"--updates must be at least 0, received {args.updates}")
    return args


if __name__ == "__main__":
    main()
