"""What the process of the services does by itself, apart from its clients' calls."""

from __future__ import annotations

import threading
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import mock

from moto.core.base_backend import BackendDict

from rds import metrics


class Metrics(unittest.TestCase):
    def test_a_reset_at_any_moment_does_not_end_the_sampling(self) -> None:
        cloud: Any = SimpleNamespace(account_id="123456789012", region="eu-central-1")
        make, resets = BackendDict._create_account_specific_backend, list[threading.Thread]()

        def make_and_reset(backends: BackendDict[Any], account_id: str) -> None:
            make(backends, account_id)
            resets.append(threading.Thread(target=BackendDict.reset))
            resets[-1].start()
            resets[-1].join(0.3)

        with mock.patch.object(BackendDict, "_create_account_specific_backend", make_and_reset):
            self.assertEqual(metrics.published_of(cloud), [])
        for reset in resets:
            reset.join()
        self.assertTrue(resets)


if __name__ == "__main__":
    unittest.main()
