"""What can be typed beside messages and answers."""

from typing import Final

HELP: Final = """\
A line is a request, and several may run at once. While a task asks something, a line is the answer.
  /cancel [n]   stop task n, or the newest, as Ctrl-C does on an empty line
  /tasks        what is running
  /ask ...      a request, also while a task asks something, or one that begins with a slash
  /attach FILE  send a file with the next message; /detach takes all of them back
  /save n [DIR] keep file n, or the newest, here or in that folder
  /thoughts     what was thought last
  /raw          show the frames that come, or show them no longer
  /quit         leave, as Ctrl-D does; what still runs is stopped
Where the server keeps conversations:
  /conversations  those that you have had, newest first
  /continue n|ID  go on with one of them; /new begins another
  /history [n]    what was said in this one, the last n turns
  /rename TITLE   call this one something else
  /delete n       delete one for good"""

OF_CONVERSATIONS: Final = {"/conversations", "/continue", "/new", "/history", "/rename", "/delete"}

COMMANDS: Final = OF_CONVERSATIONS | {
    *("/cancel", "/tasks", "/ask", "/attach", "/detach", "/save", "/thoughts", "/raw", "/help", "/quit"),
}
