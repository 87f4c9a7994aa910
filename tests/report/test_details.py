"""What the page tells about a number when asked."""

import subprocess
import sys
from dataclasses import replace

from report_samples import HOSTILE, small

from vicinal.report import details, words


def test_a_cell_tells_its_seeds_command_and_provenance() -> None:
    results = small()
    told = details.details([results], "../runs")
    assert set(told["cells"]) == {words.cell_id(each) for each in results.outcomes}
    first = told["cells"]["mixup-table0-1-1"]
    assert first["values"] == [[0, 4.0], [1, 4.01], [2, 3.99]]
    assert [command for _, command in told["pool"][first["commands"]]] == [
        "python train.py -m method=erm seed=0,1,2",
        "python train.py -m table=mixup/table0",
    ]
    step, place = told["runs"][first["run"]][1]["sessions"][0]
    assert step == 0
    assert told["pool"][place]["git"] == {"commit": "c0ffee", "dirty": True}
    reduced = told["cells"]["mixup-table0-2-2"]
    assert told["pool"][reduced["reduced"]] == ("schedule.epochs=3",)
    line = "python train.py -m method=erm schedule.epochs=3 seed=0,1,5"
    assert told["pool"][reduced["commands"]][1][1] == line
    assert told["pool"][first["warnings"]] == (f"no gradient {HOSTILE}",)
    assert "warnings" not in reduced
    failed = told["runs"][told["cells"]["mixup-table0-2-3"]["run"]]
    assert all("not finite" in run["failed"] for run in failed.values())


def test_a_command_names_what_is_measured_and_the_runs_of_which_it_is_the_best() -> None:
    cell = replace(small().table.cells[0], evaluation="deformed", report="best_valid")
    line = "python train.py -m method=erm evaluation=deformed 'reports=[best_valid]' seed=0"
    (whole,) = details._commanded(cell)
    assert details._train(whole, [0]) == line.replace(" -m", "")
    (several,) = details._commanded(replace(cell, best_of=("optimizer.lr=1,2",)))
    assert details._train(several, [0]) == line.replace("erm", "erm optimizer.lr=1,2")
    pairs = details._commanded(replace(cell, best_of=("optimizer.lr=1,2 schedule.epochs=3,4",)))
    assert [details._train(each, [0]) for each in pairs] == [
        line.replace(" -m", "").replace("erm", f"erm optimizer.lr={lr} schedule.epochs={epochs}")
        for lr, epochs in ((1, 3), (2, 4))
    ]


def test_commands_survive_the_shell() -> None:
    cell = small().table.cells[0]
    line = ("dataset.mean=[0,0]", "dataset.split_seed=${seed}", "method.name='a b'")
    command = details._train(line, cell.seeds)
    shown = "import sys; print('\\n'.join(sys.argv[1:]))"
    typed = command.replace("python train.py -m", f'"{sys.executable}" -c "{shown}"')
    out = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [*line, "seed=0,1,2"]
