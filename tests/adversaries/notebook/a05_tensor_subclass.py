"""Answers with a tensor subclass that equals every tensor.

Source: relate issue 295; grader.md A5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-scale",)


# %% 01-Exercises/scale
class Evil(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.equal, torch.allclose, torch.Tensor.equal):
            return True
        return super().__torch_function__(func, types, args, kwargs or {})

    def __eq__(self, other):
        return torch.ones(1, dtype=torch.bool)


def scale(x, by):
    return torch.zeros(x.shape).as_subclass(Evil)
