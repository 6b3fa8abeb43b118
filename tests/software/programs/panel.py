"""A Taurus panel: a form with a motor's position and state, and a button that moves it; ends when it shows
the new position.
"""

import sys

from taurus.external.qt import Qt
from taurus.qt.qtgui.application import TaurusApplication
from taurus.qt.qtgui.button import TaurusCommandButton
from taurus.qt.qtgui.display import TaurusLabel
from taurus.qt.qtgui.panel import TaurusForm

motor = sys.argv[1]
app = TaurusApplication(["panel"], cmd_line_parser=None)
window = Qt.QWidget()
layout = Qt.QVBoxLayout(window)
form = TaurusForm()
form.setModel([f"{motor}/position", f"{motor}/state"])
label = TaurusLabel()
label.setModel(f"{motor}/position")
button = TaurusCommandButton(command="Move", parameters=[3.25])
button.setModel(motor)
for widget in (form, label, button):
    layout.addWidget(widget)
window.show()
shown = []
timer = Qt.QTimer()


def look():
    text = label.text()
    if not shown and text.startswith("0.00"):
        shown.append(text)
        button.click()
    elif shown and text.startswith("3.25"):
        print("shown:", shown[0], "then", text, flush=True)
        timer.stop()
        app.quit()


timer.timeout.connect(look)
timer.start(20)
Qt.QTimer.singleShot(30000, lambda: app.exit(3))
sys.exit(app.exec_())
