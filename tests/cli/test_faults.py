"""The exit status of ``gatecheck calibrate``."""

import json


def test_calibrate_ends_1_on_an_alarm(run_gatecheck, folder, monkeypatch):
    from gatecheck.accuracy import calibration

    monkeypatch.setattr(
        calibration,
        "sharpness",
        lambda seed, tick: [{"cell": "gru", "equation": "z", "relative_error_seen": 1e-6}],
    )
    monkeypatch.setattr(
        calibration,
        "truncation",
        lambda runs, seed, tick: {"runs": 1, "caught": 1, "T": 60, "cut_at": 30},
    )
    monkeypatch.setattr(calibration, "tightness", lambda *_: [])
    status, _ = run_gatecheck(
        "calibrate", "correct.py:MyLSTM", "--cases", "2", "--json", "right.json"
    )
    assert status == 0
    assert json.loads((folder / "right.json").read_text())["calibration"][0]["alarms"] == 0
    assert run_gatecheck("calibrate", "broken.py:MyLSTM", "--cases", "2")[0] == 1
